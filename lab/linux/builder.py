"""A Linux standby builder: like a target, but its login has no sudo, and it has neither Go nor Git."""

from __future__ import annotations

import os
from typing import Final

from lab.linux.host import LinuxHost
from lab.model import HostRecord

USER: Final = "builder"
ROOT: Final = f"/home/{USER}/gofallback"
DISK_MB: Final = 6144
"""Size of its disk. It uses memory only as it is written."""
FIRST_ADDRESS: Final = 131
_UID = 1001


def record(prefix: str, index: int, suite: str, arch: str) -> HostRecord:
    """The record of Linux builder number `index` (from 1) in the network with `prefix`."""
    return HostRecord(f"b{index}", f"{prefix}{FIRST_ADDRESS + index - 1}", 22, USER, "linux", suite, arch)


class LinuxBuilder(LinuxHost):
    """A Linux host whose login `builder` has a home of its own and no sudo."""

    def _furnish(self) -> None:
        super()._furnish()
        etc, home = self.root / "etc", self.root / "home" / USER
        for name, line in (
            ("passwd", f"{USER}:x:{_UID}:{_UID}::/home/{USER}:/bin/bash"),
            ("group", f"{USER}:x:{_UID}:"),
            ("shadow", f"{USER}:*:19700:0:99999:7:::"),
        ):
            with (etc / name).open("a") as file:
                file.write(line + "\n")
        ssh = home / ".ssh"
        ssh.mkdir(mode=0o700, parents=True)
        (ssh / "authorized_keys").write_text(self._key_pub + "\n")
        for path in (home, ssh, ssh / "authorized_keys"):
            os.chown(path, _UID, _UID)
