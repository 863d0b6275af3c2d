"""A wrong clock for one Linux host: what its agent and its shells take for the time of day.

Linux has no namespace for the time of day, and a host of the lab shares the machine's. libfaketime, preloaded into
every program, was tried and breaks what a wrong clock does not: systemd does not start, systemd-run's event loop fails
(it shifts the monotonic clock too), sshd's sandbox kills its child, and static Go programs never see it. So here
`date` and the agent are told another time, each by its own way: a `date` earlier in the PATH, and an agent of the same
sources built with a Go whose `time.Now` reads the file (see `patched`). The monotonic clock stays as it is.
"""

from __future__ import annotations

import hashlib

from lab.model import LabError

FILE = "/etc/lab-clock"
"""Seconds that the host's clock is ahead, as text; it outlives a reboot, as a wrong hardware clock does."""
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


#: Names a cache of agents built with this.
DIGEST = hashlib.sha256(_OURS.encode()).hexdigest()[:8]


def patched(source: str) -> str:
    """Go's time/time.go, changed so that `time.Now` adds what FILE says. LabError if that Go is too different."""
    if source.count(_NOW) != 1 or source.count("import (\n") != 1:
        raise LabError("time/time.go of this Go looks different; expected one `sec, nsec, mono := runtimeNow()`")
    changed = source.replace("import (\n", 'import (\n\t"syscall"\n\t"unsafe"\n', 1).replace(
        _NOW, _NOW + "\tsec += labClock()\n"
    )
    return changed + _OURS
