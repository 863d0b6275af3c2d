"""Real programs for tests on targets: the agent and the example service, built once with the lab's Go for Linux."""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

from gofallback.release.upload_plan import LocalProgram
from lab.cache import cache_dir, print_progress
from lab.windows import trees
from tests.paths import PROJECT

SOURCES = {"hello": PROJECT / "lab" / "example" / "hello", "gofallback-agent": PROJECT / "src" / "gofallback" / "agent"}


@cache
def program(name: str, version: str = "v1.1.0") -> LocalProgram:
    """Build a program for linux/amd64; kept in the lab's cache under the digest of its sources."""
    source = SOURCES[name]
    digest = hashlib.sha256(version.encode())
    for file in sorted(source.rglob("*")):
        if file.is_file() and file.suffix in (".go", ".mod"):
            digest.update(file.relative_to(source).as_posix().encode() + file.read_bytes())
    final = cache_dir() / "test-programs" / f"{name}-{digest.hexdigest()[:16]}"
    if not final.exists():
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".{final.name}-{os.getpid()}")
        package = "./cmd/hello" if name == "hello" else "."
        flags = f"-s -w -buildid= -X=main.version={version}"
        environment = os.environ | {
            "CGO_ENABLED": "0",
            "GOFLAGS": "-buildvcs=false",
            "GOTOOLCHAIN": "local",
            "GOPROXY": "off",
            "GOCACHE": str(cache_dir() / "test-programs" / "gocache"),
        }
        command = [str(go()), "build", "-trimpath", f"-ldflags={flags}", "-o", str(temporary), package]
        subprocess.run(command, cwd=source, env=environment, check=True)
        temporary.rename(final)
    content = final.read_bytes()
    return LocalProgram(final, hashlib.sha256(content).hexdigest(), len(content))


def go() -> Path:
    """The lab's newest Go for Linux, unpacked if it is not there yet."""
    folder = cache_dir() / "trees" / "go-linux"
    found = sorted(folder.glob("*/go/bin/go"))
    if found:
        return found[-1]
    return (
        trees.ensure(cache_dir(), print_progress).go_linux[max(trees.ensure(cache_dir(), print_progress).go_linux)]
        / "bin"
        / "go"
    )
