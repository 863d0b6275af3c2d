"""Where the Windows half of the lab (package lab.windows) joins the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.cache import Say
from lab.host import Host
from lab.model import HostRecord, LabError

FIRST_ADDRESS = 101
USER = "builder"


def record(prefix: str, index: int) -> HostRecord:
    """The record of the Windows host number `index` (from 1) in the network that starts with `prefix`."""
    return HostRecord(f"w{index}", f"{prefix}{FIRST_ADDRESS + index - 1}", 22, USER, "windows")


class Windows:
    """The trees every Windows host is made from, once they are built."""

    def __init__(self, trees: Any) -> None:
        self._trees = trees

    @classmethod
    def prepare(cls, cache: Path, tell: Say) -> Windows:
        """Download and build what is missing; LabError if that fails."""
        raise LabError("Windows hosts are not part of this lab yet; expected --builders 0")

    def toolchains(self) -> dict[str, dict[str, dict[str, str]]]:
        """The toolchain archives, as lab.json names them."""
        return dict(self._trees.toolchains())

    def host(self, lab: str, record: HostRecord, directory: Path, key_pub: str, disk_mb: int | None) -> Host:
        """The host of that record, not started yet."""
        raise NotImplementedError
