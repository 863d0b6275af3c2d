"""A release on its way to a target. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gofallback.release.pull import Source, Wanted
from gofallback.release.render import ReleaseFiles


@dataclass(frozen=True)
class Program:
    """A program of a release: a binary of the service or the agent; or another file that is sent as it is."""

    path: str
    """Inside the release."""
    sha256: str
    size: int
    """Bytes."""
    local: Path
    """The file on the controller."""
    have: tuple[str, ...] = ()
    """Absolute paths on the target that should hold the same bytes: linked, not sent, if they really do."""
    mode: int = 0o755
    source: Source | None = None
    """Where the target gets it itself; None: it is sent. The agent is always sent, as it does the fetching."""

    @property
    def fetched(self) -> bool:
        """Whether the target gets it itself."""
        return self.source is not None and not self.have


@dataclass(frozen=True)
class Upload:
    """One release on its way to one target."""

    files: ReleaseFiles
    user: str
    run_id: str
    manifest: bytes
    programs: tuple[Program, ...]
    minimum_free_mb: int = 64
    replace: bool = False
    """A folder of that name is there and damaged: put the new one in its place."""
    number: int = 0
    """Of the run's lease: what it fences is written only while no later run has one. 0: not fenced."""
    beside: Mapping[str, bytes] = field(default_factory=dict)
    """Name to content of files that lie beside manifest.json: what proves where the binary came from."""
    extras: tuple[Program, ...] = ()
    """Further files: there may be thousands, so that their names go through the archive, not into a command."""

    @property
    def temporary(self) -> str:
        """Folder the upload goes to."""
        return f"{self.files.home}/releases/.tmp-{self.files.id}-{self.run_id}"

    @property
    def needed(self) -> int:
        """Bytes that come to the target."""
        return self.sent + sum(one.size for one in self.fetched)

    @property
    def sent(self) -> int:
        """Bytes that the controller sends."""
        parts = (*self.programs, *self.extras)
        sent = sum(program.size for program in parts if not program.have and not program.fetched)
        small = [file.content for file in self.files.files.values()] + [self.manifest, *self.beside.values()]
        return sent + sum(len(content) for content in small)

    @property
    def fetched(self) -> tuple[Wanted, ...]:
        """What the target gets itself."""
        return tuple(
            Wanted(f"{self.temporary}/{one.path}", one.sha256, one.size, one.source)
            for one in self.programs
            if one.source is not None and one.fetched
        )
