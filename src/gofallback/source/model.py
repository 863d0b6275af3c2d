"""The resolved source of a service: plain, frozen, the same for the plan and for the run."""

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
    """URL or path the mirror is fetched from."""
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
    """Its folder, relative to the top of the outermost work tree, with ``/``."""


class ResolvedSource(Repository):
    """The exact commit of one service, and the age of the mirror that named it."""

    service: str
    ref: str
    """``source.ref`` of group data."""
    version: str
    """``git describe --tags --always`` of the commit, characters outside ``[A-Za-z0-9._+-]`` replaced by ``-``."""
    commit_time: datetime
    """Committer date."""
    fetched_at: datetime
    """When the mirror was last brought up to date."""
    age: float
    """Seconds between ``fetched_at`` and now."""
    offline: bool = False
    """The remote was not contacted."""
    notes: tuple[str, ...] = ()
    """Differences on a Windows builder (symbolic links, impossible names, ...), one line each."""

    def line(self) -> str:
        """One line for people, before anything is built."""
        when = f"{self.commit_time:%Y-%m-%d %H:%M %Z}"
        return f"{self.service}: {self.ref} is {self.commit} ({self.version}, committed {when})"


Repository.model_rebuild()
Submodule.model_rebuild()
ResolvedSource.model_rebuild()
