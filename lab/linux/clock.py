"""A wrong clock for one Linux host: what its agent and its shells take for the time of day.

Linux has no namespace for the time of day, and a host of the lab shares the machine's. libfaketime, preloaded into
every program, was tried and breaks what a wrong clock does not: systemd does not start, systemd-run's event loop fails
(it shifts the monotonic clock too), sshd's sandbox kills its child, and static Go programs never see it. So here
`date` and the agent are told another time, each by its own way: a `date` earlier in the PATH, and an agent of the same
sources built with a Go whose `time.Now` reads the file (see `patched`). The monotonic clock stays as it is.
"""

from __future__ import annotations

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
func labClock() int64 {{
	file, err := syscall.Open("{FILE}", syscall.O_RDONLY, 0)
	if err != nil {{
		return 0
	}}
	defer syscall.Close(file)
	var text [32]byte
	length, _ := syscall.Read(file, text[:])
	off, sign := int64(0), int64(1)
	for _, char := range text[:max(length, 0)] {{
		if char == '-' {{
			sign = -1
		}} else if char >= '0' && char <= '9' {{
			off = off*10 + int64(char-'0')
		}}
	}}
	return sign * off
}}
"""


def patched(source: str) -> str:
    """Go's time/time.go, changed so that `time.Now` adds what FILE says. LabError if that Go is too different."""
    if source.count(_NOW) != 1 or source.count("import (\n") != 1:
        raise LabError("time/time.go of this Go looks different; expected one `sec, nsec, mono := runtimeNow()`")
    changed = source.replace("import (\n", 'import (\n\t"syscall"\n').replace(_NOW, _NOW + "\tsec += labClock()\n")
    return changed + _OURS
