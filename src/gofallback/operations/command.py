"""One go command on a builder: what to run there, and where the controller logs its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gofallback.gobuild.build_failure import Step
from gofallback.gobuild.detached import DetachedJob


@dataclass(frozen=True)
class Command:
    """`gofallback.operations.gocmd.run` runs it."""

    label: str
    """Beginning of every line about it, such as ``hello v1.2.0 linux/arm64``."""
    line: str
    """For the builder's shell."""
    environment: Mapping[str, str]
    """An empty value: the variable is not set there, whatever the login has."""
    timeout: float
    """Seconds."""
    log: Path
    """File on the controller that gets the whole output."""
    root: str
    """The builder's root; its shape tells the shell."""
    step: Step = "build"
    job: DetachedJob | None = None
    """Run it detached; None: it ends with its connection."""
    stdin: bytes = b""
    """Its standard input. Of a detached command, neither this nor the environment is written to a disk."""
    secrets: tuple[str, ...] = ()
    """What is masked in its output."""
