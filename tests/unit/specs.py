"""The build that many unit tests are about, and the manifest of what it made."""

from __future__ import annotations

import hashlib

from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec

SPEC = BuildSpec(
    service="hello",
    platform="linux/amd64",
    go_version="1.27.0",
    commit="c" * 40,
    version="v1.1.0",
    package="./cmd/hello",
    directory=".",
    binary="hello",
)


def manifest_of(spec: BuildSpec, content: bytes, built_at: str = "2026-11-22T03:00:00Z") -> Manifest:
    """The manifest of a binary that was built to a spec.

    Args:
        spec: of the build.
        content: of the binary.
        built_at: when.
    """
    return Manifest(
        spec=spec,
        key=spec.key,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        builder="w1",
        built_at=built_at,
        seconds=12.5,
    )
