"""Windows Installer without a window: the command line and what its exit codes mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gofallback.builder.paths import literal

#: https://learn.microsoft.com/windows/win32/msi/error-codes
_CODES = {
    1601: "the Windows Installer service cannot be reached",
    1603: "fatal error during the installation (often: the login is no administrator)",
    1618: "another installation is running; run again when it has ended",
    1619: "the package cannot be opened",
    1620: "the package is not a valid Windows Installer package",
    1625: "forbidden by policy; pin the zip instead",
    1633: "the package is for another processor",
    1925: "the login is no administrator; pin the zip instead",
}
_DONE = (0, 1641, 3010)
"""Done; the latter two ask for a restart, which neither Go nor Git needs."""


def msi_line(package: str, folder: str, log: str) -> str:
    r"""The command line that installs a package and then prints ``@exit <code>``.

    Args:
        package: the .msi on the host.
        folder: where to install (the Go package's INSTALLDIR).
        log: file for msiexec's own log.
    """
    # msiexec is a program with windows: only with `start /wait` does cmd.exe wait for it. It parses PROPERTY="value" by
    # itself, so that the usual quoting of a whole argument would be wrong.
    install = (
        f'start "" /wait "%SystemRoot%\\System32\\msiexec.exe" /i {literal(package)} /qn /norestart '
        f"/l*v {literal(log)} INSTALLDIR={literal(folder)}"
    )
    # %errorlevel% would be read before anything runs; `call` reads the line once more.
    return f"{install}& call echo @exit %^errorlevel%"


def msi_problem(lines: Iterable[str]) -> str | None:
    """Why the installation failed, from the output of `msi_line`, or None."""
    for line in lines:
        match = re.fullmatch(r"@exit (-?\d+)", line.strip())
        if match:
            code = int(match.group(1))
            return None if code in _DONE else f"{code}: {_CODES.get(code, 'see its log')}"
    return "printed no exit code"
