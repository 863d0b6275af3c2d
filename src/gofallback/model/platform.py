"""GOOS/GOARCH pairs."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

#: ``go tool dist list`` of Go 1.27.3; a test compares it with the real command.
GO_PLATFORMS: frozenset[str] = frozenset(
    f"{goos}/{goarch}"
    for goos, goarchs in {
        "aix": ("ppc64",),
        "android": ("386", "amd64", "arm", "arm64"),
        "darwin": ("amd64", "arm64"),
        "dragonfly": ("amd64",),
        "freebsd": ("386", "amd64", "arm", "arm64"),
        "illumos": ("amd64",),
        "ios": ("amd64", "arm64"),
        "js": ("wasm",),
        "linux": (
            *("386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle"),
            *("ppc64", "ppc64le", "riscv64", "s390x"),
        ),
        "netbsd": ("386", "amd64", "arm", "arm64"),
        "openbsd": ("386", "amd64", "arm", "arm64", "ppc64", "riscv64"),
        "plan9": ("386", "amd64", "arm"),
        "solaris": ("amd64",),
        "wasip1": ("wasm",),
        "windows": ("386", "amd64", "arm64"),
    }.items()
    for goarch in goarchs
)


def _known(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+/[a-z0-9]+", value) or value not in GO_PLATFORMS:
        raise ValueError("should be a GOOS/GOARCH pair of `go tool dist list`, such as linux/amd64")
    return value


#: ``"linux/amd64"``; always one of GO_PLATFORMS.
Platform = Annotated[str, AfterValidator(_known)]

_GOARCH = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "armv6l": "arm",
    "armv7l": "arm",
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
    "ppc64": "ppc64",
    "s390x": "s390x",
    "loongarch64": "loong64",
    "mips": "mips",
    "mips64": "mips64",
}


def platform_of(kernel: str, machine: str) -> str | None:
    """GOOS/GOARCH of a host, such as ``"linux/amd64"``; None where Go has no port.

    Args:
        kernel: ``uname -s``.
        machine: ``uname -m``.
    """
    value = f"{kernel.lower()}/{_GOARCH.get(machine, machine)}"
    return value if value in GO_PLATFORMS else None
