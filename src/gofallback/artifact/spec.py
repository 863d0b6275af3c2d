"""Everything that decides the bytes of one binary, and the key made of that."""

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
"""Fields of the first keys. A later field counts in a key only when it differs from its default."""


class BuildSpec(Strict):
    """One binary to build: all that group data and source hand to the build.

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
    """True: -mod=vendor; None: go decides (vendor/ is part of the commit, so the key does not depend on it)."""
    environment: tuple[tuple[str, str], ...] = ()
    """Further variables for go, sorted."""
    generate: tuple[str, ...] = ()
    """Packages for ``go generate``, which runs first; its files are compiled as an overlay of the commit."""
    cgo: CgoSpec | None = None
    """The C compiler's part, for builds with C."""
    generator_tags: tuple[str, ...] | None = None
    """Tags for ``generate``: those of the service's main binary; None: ``tags``."""

    @property
    def key(self) -> str:
        """64 hex digits: SHA-256 over the canonical JSON of all fields.

        A later field with its default is left out: keys of earlier builds do not change.
        """
        every = self.model_dump(mode="json")
        changed = self.model_dump(mode="json", exclude_defaults=True)
        counted = {name: value for name, value in every.items() if name in _FIRST or name in changed}
        text = json.dumps(counted, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def what(self) -> str:
        """For people: the service, and the binary where its name differs."""
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
        """Arguments of ``go build`` that decide the bytes."""
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
    """One word of ``-ldflags``: go takes words in either kind of quotes, without escapes (go help build)."""
    if not any(character in part for character in " \t'\""):
        return part
    mark = '"' if "'" in part else "'"
    if mark in part:
        raise ValueError(f"{part}: should not hold both kinds of quotes; go has no way to pass that to the linker")
    return f"{mark}{part}{mark}"
