"""The folders of the controller."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gofallback.runid import base_of


@dataclass(frozen=True)
class Home:
    """Folders below ``$GOFALLBACK_HOME`` (default ``~/.local/state/gofallback``, the XDG state folder)."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """The folder that the environment sets."""
        named = os.environ.get("GOFALLBACK_HOME")
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return cls(Path(named) if named else Path(state) / "gofallback")

    @property
    def mirrors(self) -> Path:
        """Bare git mirrors, one for each repository."""
        return self.root / "mirrors"

    @property
    def downloads(self) -> Path:
        """Verified toolchain archives."""
        return self.root / "downloads"

    @property
    def modules(self) -> Path:
        """Go modules downloaded for builders (``cache``), and the list of those that a commit needs (``sets``)."""
        return self.root / "modules"

    @property
    def toolchains(self) -> Path:
        """Go for the controller itself, unpacked from pins."""
        return self.root / "toolchains"

    @property
    def artifacts(self) -> Path:
        """The artifact store."""
        return self.root / "artifacts"

    @property
    def files(self) -> Path:
        """Files of releases, named by the SHA-256 of their content."""
        return self.root / "files"

    @property
    def keys(self) -> Path:
        """The controller's own keys."""
        return self.root / "keys"

    @property
    def runs(self) -> Path:
        """One folder for each run."""
        return self.root / "runs"

    def run(self, run_id: str) -> Path:
        """Folder of one run's records."""
        return self.runs / run_id

    def journal(self, run_id: str) -> Path:
        """The journal of a run and of its continuations."""
        return self.run(base_of(run_id)) / "journal.jsonl"
