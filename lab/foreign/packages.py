"""The packages that a program of a GOPATH imports, from `go list`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.cache import cache_dir
from lab.foreign.pins import Program
from lab.model import LabError

_FIELDS = "ImportPath,Dir,Standard,GoFiles,EmbedFiles,Imports,ImportMap"
COUNTED = "linux/amd64"


@dataclass
class Package:
    """One package, for all platforms together."""

    folder: Path
    written: set[str]
    """Import paths in the source of others: `x/v3/y` where GOPATH has it at `x/y`. Debian sometimes has both."""
    embedded: set[str] = field(default_factory=set)
    """Embedded files, relative to its folder."""
    compiled: tuple[str, ...] = ()
    """Files that are compiled for linux/amd64."""


def imported(go: Path, source: Path, program: Program) -> dict[str, Package]:
    """Every package that the program needs, with its own, without the standard library, by path in the GOPATH.

    LabError if one is missing.
    """
    found: dict[str, Package] = {}
    names: dict[str, set[str]] = {}
    for platform in program.platforms:
        for one in _listed(go, source, program, platform):
            renamed = one.get("ImportMap", {})
            for written in {*renamed, *one.get("Imports", [])} - set(renamed.values()):
                names.setdefault(renamed.get(written, written), set()).add(written)
            if one.get("Standard"):
                continue
            package = found.setdefault(one["ImportPath"], Package(Path(one["Dir"]), set()))
            package.embedded |= set(one.get("EmbedFiles", []))
            if platform == COUNTED:
                package.compiled = tuple(one.get("GoFiles", []))
    for path, package in found.items():
        package.written = names.get(path) or {path}
    return found


def lines_of(packages: dict[str, Package]) -> int:
    """Lines of Go that are compiled for linux/amd64."""
    files = [package.folder / name for package in packages.values() for name in package.compiled]
    return sum(len(file.read_bytes().splitlines()) for file in files)


def _listed(go: Path, source: Path, program: Program, platform: str) -> Iterator[dict[str, Any]]:
    goos, goarch = platform.split("/")
    env = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",
        "GOCACHE": str(cache_dir() / "trees" / "gocache-linux"),
        "GO111MODULE": "off",
        "GOPATH": str(source.parent),
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOOS": goos,
        "GOARCH": goarch,
    }
    command = [str(go), "list", "-deps", f"-json={_FIELDS}", program.package]
    done = subprocess.run(command, cwd=source / program.folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{program.name} for {platform}: {done.stderr.strip().splitlines()[0]}")
    decoder, text = json.JSONDecoder(), done.stdout.strip()
    while text:
        one, end = decoder.raw_decode(text)
        text = text[end:].lstrip()
        yield one
