"""The build that many unit tests are about."""

from __future__ import annotations

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
