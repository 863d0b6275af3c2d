"""A wrong time of day on one Linux host, for its agent and its shells.

Linux has no namespace for the time of day, and a host of the lab shares the machine's. libfaketime, preloaded into
every program, was tried. It breaks more than a wrong clock does: systemd does not start, systemd-run's event loop fails
(libfaketime shifts the monotonic clock too), sshd's sandbox kills its child, and static Go programs never see it. So
only `date` and the agent get another time: a `date` earlier in the PATH, and an agent of the same sources built with a
Go whose `time.Now` reads the file (see `patched`). The monotonic clock does not change.
"""

from __future__ import annotations

import hashlib

from lab.model import LabError

FILE = "/etc/lab-clock"
"""Seconds that the host's clock is ahead, as text. The file survives a reboot, like a wrong hardware clock."""
DATE = "/usr/local/bin/date"
DATE_SCRIPT = f"""\
#!/bin/sh
off=$(cat {FILE} 2>/dev/null) || exec /bin/date "$@"
exec /bin/date --date="@$(($(/bin/date +%s) + off))" "$@"
"""

_NOW = "\tsec, nsec, mono := runtimeNow()\n"
_OURS = f"""
var labFile = [...]byte{{{", ".join(str(byte) for byte in (FILE + chr(0)).encode())}}}

// The runtime sends a timer's time on its own stack: nothing here may allocate, or enter the scheduler.
func labClock() int64 {{
	at := -100 // AT_FDCWD
	file, _, errno := syscall.RawSyscall6(syscall.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(&labFile[0])), 0, 0, 0, 0)
	if errno != 0 {{
		return 0
	}}
	var text [32]byte
	length, _, errno := syscall.RawSyscall(syscall.SYS_READ, file, uintptr(unsafe.Pointer(&text[0])), 32)
	syscall.RawSyscall(syscall.SYS_CLOSE, file, 0, 0)
	off, sign := int64(0), int64(1)
	for index := 0; errno == 0 && index < int(length); index++ {{
		if text[index] == '-' {{
			sign = -1
		}} else if text[index] >= '0' && text[index] <= '9' {{
			off = off*10 + int64(text[index]-'0')
		}}
	}}
	return sign * off
}}
"""  # noqa: E501


#: Part of the name of the cache for agents built with this.
DIGEST = hashlib.sha256(_OURS.encode()).hexdigest()[:8]


def patched(source: str) -> str:
    """Change Go's time/time.go so that `time.Now` adds the seconds in FILE. LabError if this Go is too different."""
    if source.count(_NOW) != 1 or source.count("import (\n") != 1:
        raise LabError("time/time.go of this Go looks different; expected one `sec, nsec, mono := runtimeNow()`")
    changed = source.replace("import (\n", 'import (\n\t"syscall"\n\t"unsafe"\n', 1).replace(
        _NOW, _NOW + "\tsec += labClock()\n"
    )
    return changed + _OURS
