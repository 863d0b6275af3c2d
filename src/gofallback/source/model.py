"""The source once it is resolved: plain, frozen, the same for the plan and for the run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from gofallback.model.base import Strict

Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class Repository(Strict):
    """One repository at one commit, and the controller-side mirror that holds it."""

    repository: str
    """URL or path it was fetched from."""
    commit: Commit
    mirror: Path
    """Bare mirror on the controller."""
    submodules: tuple[Submodule, ...] = ()

    def below(self) -> Iterator[Submodule]:
        """Every submodule, parents before children."""
        for submodule in self.submodules:
            yield submodule
            yield from submodule.below()


class Submodule(Repository):
    """A submodule of the commit above it."""

    path: str
    """Where it is checked out, relative to the top of the outermost work tree, with ``/``."""


class ResolvedSource(Repository):
    """The exact commit of one service, and how fresh that knowledge is."""

    service: str
    ref: str
    """What group data asked for."""
    version: str
    """``git describe --tags --always`` of the commit, characters outside ``[A-Za-z0-9._+-]`` replaced by ``-``."""
    commit_time: datetime
    """Committer date."""
    fetched_at: datetime
    """When the mirror was last brought up to date."""
    age: float
    """Seconds between ``fetched_at`` and now."""
    offline: bool = False
    """True: the remote was not asked."""
    notes: tuple[str, ...] = ()
    """What a Windows builder sees differently (symbolic links, names it cannot hold, ...), one line each."""

    def line(self) -> str:
        """What a person needs to know before anything is built."""
        when = f"{self.commit_time:%Y-%m-%d %H:%M %Z}"
        return f"{self.service}: {self.ref} is {self.commit} ({self.version}, committed {when})"


Repository.model_rebuild()
Submodule.model_rebuild()
ResolvedSource.model_rebuild()
