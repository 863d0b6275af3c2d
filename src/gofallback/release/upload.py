"""A release that is uploaded to a target. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gofallback.release.pull import PullFile, PullSource
from gofallback.release.render import ReleaseFiles


@dataclass(frozen=True)
class Program:
    """A program of a release (a binary of the service, or the agent), or an extra file."""

    path: str
    """Inside the release."""
    sha256: str
    size: int
    """Bytes."""
    local: Path
    """The file on the controller."""
    copies: tuple[str, ...] = ()
    """Absolute paths on the target that should have the same content: linked, not sent, and then verified."""
    mode: int = 0o755
    source: PullSource | None = None
    """The store from which the target pulls it; None: the controller sends it. The agent is always sent: it pulls."""

    @property
    def fetched(self) -> bool:
        """Whether the target pulls it."""
        return self.source is not None and not self.copies


@dataclass(frozen=True)
class Upload:
    """The upload of one release to one target."""

    files: ReleaseFiles
    user: str
    run_id: str
    manifest: bytes
    programs: tuple[Program, ...]
    minimum_free_mb: int = 64
    replace: bool = False
    """Replace a damaged folder of the same name."""
    number: int = 0
    """Number of the run's lease: guarded writes are made only while no later run has the lease. 0: not fenced."""
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    """Name to content of the files beside manifest.json, such as provenance.json and sbom.json."""
    extra_files: tuple[Program, ...] = ()
    """There may be thousands, so their names are sent in the archive, not in a command."""

    @property
    def temporary(self) -> str:
        """Folder that the upload is unpacked into."""
        return f"{self.files.home}/releases/.tmp-{self.files.id}-{self.run_id}"

    @property
    def needed(self) -> int:
        """Bytes that the target receives."""
        return self.sent + sum(file.size for file in self.fetched)

    @property
    def sent(self) -> int:
        """Bytes that the controller sends."""
        parts = (*self.programs, *self.extra_files)
        sent = sum(program.size for program in parts if not program.copies and not program.fetched)
        small = [file.content for file in self.files.files.values()] + [self.manifest, *self.metadata.values()]
        return sent + sum(len(content) for content in small)

    @property
    def fetched(self) -> tuple[PullFile, ...]:
        """Programs that the target pulls."""
        return tuple(
            PullFile(f"{self.temporary}/{program.path}", program.sha256, program.size, program.source)
            for program in self.programs
            if program.source is not None and program.fetched
        )
