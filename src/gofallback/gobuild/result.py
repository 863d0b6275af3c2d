"""The output of a build on a builder, and how a later run recognizes it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec

RECORD = "artifact.txt"
"""One line with hash, size and name. It is there exactly when the output is complete."""
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Built:
    """One output on a builder, hashed there."""

    manifest: Manifest
    path: str
    """The binary on the builder."""
    reused: bool
    """An earlier run built it."""

    @property
    def spec(self) -> BuildSpec:
        """The spec it was built from."""
        return self.manifest.spec

    @property
    def sha256(self) -> str:
        """As the builder computes it."""
        return self.manifest.sha256

    @property
    def size(self) -> int:
        """Bytes."""
        return self.manifest.size

    @property
    def seconds(self) -> float:
        """Seconds that build took, in this run or an earlier one."""
        return self.manifest.seconds

    def line(self) -> str:
        """One line for the screen."""
        what = "there already" if self.reused else f"built in {self.seconds:.1f} s"
        return (
            f"{self.spec.what} {self.spec.version} {self.spec.platform}: {what} "
            f"({self.size / 1e6:.1f} MB, sha256 {self.sha256[:12]})"
        )


def record(manifest: Manifest) -> str:
    """The line of `RECORD`."""
    return f"gofallback-artifact 1 {manifest.sha256} {manifest.size} {manifest.spec.file_name}"


@dataclass(frozen=True)
class Measured:
    """Size and hash of a file, as the builder measured them."""

    size: int
    sha256: str


def read_measured(lines: Iterable[str]) -> dict[str, Measured]:
    """Read ``@file <name>``, ``@size <bytes>`` and certutil's output; name to measurement.

    Old versions of certutil print the digits in pairs, later ones in one piece; its other words are translated.
    """
    found: dict[str, Measured] = {}
    name, size = "", -1
    for line in lines:
        text = line.strip()
        if text.startswith("@file "):
            name, size = text.removeprefix("@file "), -1
        elif text.startswith("@size "):
            size = int(text.removeprefix("@size "))
        elif name and size >= 0 and re.fullmatch(r"[0-9a-fA-F]{64}", text.replace(" ", "")):
            found[name] = Measured(size, text.replace(" ", "").lower())
    return found


def read_manifests(lines: Iterable[str]) -> dict[str, Manifest]:
    """Read ``@file <name>`` followed by a manifest on one line; an unreadable manifest is left out."""
    found: dict[str, Manifest] = {}
    name = ""
    for line in lines:
        text = line.strip()
        if text.startswith("@file "):
            name = text.removeprefix("@file ")
        elif name and text.startswith("{"):
            try:
                found[name] = Manifest.model_validate_json(text)
            except ValidationError:
                continue
    return found


def reusable(spec: BuildSpec, manifest: Manifest | None, measured: Measured | None) -> bool:
    """Whether an output is what ``spec`` would build: its manifest fits, and its bytes are still the manifest's."""
    if manifest is None or measured is None:
        return False
    return manifest.spec == spec and manifest.key == spec.key and measured == Measured(manifest.size, manifest.sha256)
