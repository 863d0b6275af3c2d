"""Everything that decides the bytes of one binary, and the key made of it."""

from __future__ import annotations

import hashlib
import json

from gofallback.artifact.cgo_spec import CgoSpec, link_flags
from gofallback.model.base import Strict

_FIRST = frozenset(
    [
        *("service", "platform", "go_version", "commit", "version", "package", "directory", "binary"),
        *("tags", "stamp", "strip", "linkage", "vendored", "environment"),
    ]
)
"""Fields of the first keys. A later one counts in a key only when it differs from its default."""


class BuildSpec(Strict):
    """One binary to build: the only thing that crosses from group data and source to the build.

    Two specs with equal ``key`` give equal bytes (reproducible flags, see docs/architecture.md).
    """

    service: str
    platform: str
    """GOOS/GOARCH."""
    go_version: str
    """Toolchain version, such as 1.26.6."""
    commit: str
    """Full SHA-1 of the commit; for gofallback's own agent: the SHA-256 of its sources."""
    version: str
    package: str
    directory: str
    binary: str
    """File name on Linux; `.exe` is added for windows platforms."""
    tags: tuple[str, ...] = ()
    stamp: tuple[tuple[str, str], ...] = ()
    """Sorted (-X variable, value) pairs, placeholders already replaced."""
    strip: bool = True
    linkage: str = "static"
    vendored: bool | None = None
    """True: -mod=vendor; None: decided on the builder (vendor/ is part of the commit, so the key need not know)."""
    environment: tuple[tuple[str, str], ...] = ()
    """Sorted further environment for go."""
    generate: tuple[str, ...] = ()
    """Packages for ``go generate``, which runs before; what it makes is compiled as an overlay of the commit."""
    cgo: CgoSpec | None = None
    """With C: what its compiler decides of the bytes."""
    generator_tags: tuple[str, ...] | None = None
    """Tags under which ``generate`` runs: those of the service's main binary; None: they are ``tags``."""

    @property
    def key(self) -> str:
        """64 hex digits: SHA-256 over the canonical JSON of all fields.

        A field that came later and has its default is left out: the keys of what was built before it stay.
        """
        every = self.model_dump(mode="json")
        changed = self.model_dump(mode="json", exclude_defaults=True)
        counted = {name: value for name, value in every.items() if name in _FIRST or name in changed}
        text = json.dumps(counted, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def what(self) -> str:
        """For a person: the service, and which of its binaries where that has another name."""
        return self.service if self.binary == self.service else f"{self.service} {self.binary}"

    @property
    def goos(self) -> str:
        """Operating system half of the platform."""
        return self.platform.split("/")[0]

    @property
    def goarch(self) -> str:
        """Architecture half of the platform."""
        return self.platform.partition("/")[2]

    @property
    def file_name(self) -> str:
        """Name of the file that go build writes."""
        return self.binary + (".exe" if self.goos == "windows" else "")

    def flags(self) -> list[str]:
        """Arguments of ``go build`` that decide the bytes (design 3.6)."""
        ldflags = (["-s", "-w"] if self.strip else []) + ["-buildid="]
        ldflags += [f"-X={name}={value}" for name, value in self.stamp]
        if self.cgo is not None:
            ldflags += link_flags(self.cgo, self.linkage)
        quoted = " ".join(_quoted(part) for part in ldflags)
        flags = ["-trimpath", f"-ldflags={quoted}"]
        if self.tags:
            flags.append("-tags=" + ",".join(self.tags))
        return flags


def _quoted(part: str) -> str:
    """One word of ``-ldflags``: go takes whole words in either kind of quotes and knows no escapes (go help build)."""
    if not any(character in part for character in " \t'\""):
        return part
    mark = '"' if "'" in part else "'"
    if mark in part:
        raise ValueError(f"{part}: should not hold both kinds of quotes; go has no way to pass that to the linker")
    return f"{mark}{part}{mark}"
