"""SFTP like Win32-OpenSSH: `/C:/x` paths, case-insensitive names, a rename that refuses an existing target."""

import os
from pathlib import Path
from typing import Any

import asyncssh

FORBIDDEN = frozenset('<>:"|?*')
"""Characters that no Windows file name may have: learn.microsoft.com/windows/win32/fileio/naming-a-file."""


def find_ignoring_case(base: Path, parts: list[str]) -> Path:
    """`base`/`parts`, with every part spelled as on disk. Missing parts stay as given."""
    path = base
    for part in parts:
        step = path / part
        if not os.path.lexists(step) and path.is_dir():
            folded = part.casefold()
            step = next((entry for entry in path.iterdir() if entry.name.casefold() == folded), step)
        path = step
    return path


def local_path(drive_c: Path, home: str, remote: bytes) -> Path:
    """The file of an SFTP path: `/C:/x`, `C:/x`, `C:\\x`, `/x` (of drive C) or relative to the profile `home`.

    `home` is relative to drive C. Raises `SFTPNoSuchFile` for other drives and for names Windows does not allow.
    """
    text = remote.decode("utf-8", "surrogateescape").replace("\\", "/")
    bare = text.lstrip("/")
    if len(bare) >= 2 and bare[1] == ":":
        if bare[0] not in "cC":
            raise asyncssh.SFTPNoSuchFile(f"no drive {bare[:2]}")
        rest = bare[2:]
    else:
        rest = text if text.startswith("/") else f"{home}/{text}"
    parts = [part for part in os.path.normpath("/" + rest).split("/") if part]
    if any(FORBIDDEN.intersection(part) for part in parts):
        raise asyncssh.SFTPNoSuchFile(f"not a Windows file name: {text}")
    return find_ignoring_case(drive_c, parts)


def sftp_server(drive_c: Path, home: str) -> type[asyncssh.SFTPServer]:
    """An SFTP server class for one Windows host."""
    root = str(drive_c).encode()

    class WindowsSFTP(asyncssh.SFTPServer):
        """Maps every path into drive C. Opened files are the host's own files."""

        def map_path(self, path: bytes) -> bytes:
            return str(local_path(drive_c, home, path)).encode("utf-8", "surrogateescape")

        def reverse_map_path(self, path: bytes) -> bytes:
            return b"/C:" + (path.removeprefix(root) or b"/")

        def realpath(self, path: bytes) -> bytes:
            return self.reverse_map_path(self.map_path(path))

        def rename(self, oldpath: bytes, newpath: bytes) -> Any:
            # SFTP 3's rename never replaces; posix-rename@openssh.com does (asyncssh's posix_rename).
            if os.path.lexists(self.map_path(newpath)):
                raise asyncssh.SFTPFailure("Failure")
            return super().rename(oldpath, newpath)

        def symlink(self, oldpath: bytes, newpath: bytes) -> Any:
            raise asyncssh.SFTPFailure("A required privilege is not held by the client")

    return WindowsSFTP
