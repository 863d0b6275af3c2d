"""The project's own programs in the table: the example, and one with SQLite in it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lab import Lab, sqlite
from lab.cache import cache_dir, print_progress
from lab.foreign.pins import Program
from lab.windows.pins import GO_DEFAULT
from lab.windows.trees import go_for_linux

EXAMPLE: Final = Program(
    "hello",
    version="v1.1.0",
    folder="",
    package="./cmd/hello",
    platforms=("linux/amd64", "linux/arm64", "windows/amd64", "darwin/arm64"),
    needs=(),
    build={"version_variable": "main.version"},
    version_output="hello {version}",
    unit={"type": "notify", "environment": {"HELLO_ADDR": ":8080"}},
    health={"check": {"type": "http", "url": "http://127.0.0.1:8080/healthz", "body": "^ok"}},
)
"""The project's own example, for comparison."""
SUMS: Final = Program(
    "sums",
    version=sqlite.VERSION,
    folder="",
    package=".",
    platforms=("linux/amd64",),
    needs=(),
    build={"version_variable": "main.version", "modules": "vendor", "cgo": {}},
    version_argument="-sum=40,2",
    version_output=f"sums {{version}} sum 42 sqlite {sqlite.SQLITE}",
    unit={"arguments": ["-listen", ":8080"]},
    health={"check": {"type": "tcp", "address": "127.0.0.1:8080"}},
)
"""SQLite in `mattn/go-sqlite3`, static with musl."""
WITH_C: Final = (SUMS,)
"""Built by the Linux builder."""


def repository(lab: Lab, program: Program) -> tuple[Path, int, int] | None:
    """Return repository, lines of Go and lines of C of a program of this project, or None for another program."""
    if program is EXAMPLE:
        made = Path(lab.file.example["repository"])
        show_go = ["git", "-C", str(made), "grep", "-c", "", program.version, "--", "*.go", ":!*_test.go"]
        counted = subprocess.run(show_go, check=True, capture_output=True, text=True).stdout.splitlines()
        return made, sum(int(line.rpartition(":")[2]) for line in counted), 0
    if program not in WITH_C:
        return None
    made = sqlite.repository(print_progress)
    return made, *_lines(made, program)


def next_commit(program: Program) -> str:
    """Return the ref for the warm build."""
    # The example's second release is its newest commit, so the warm build takes the release before.
    return "v1.0.0" if program is EXAMPLE else "main"


def _lines(made: Path, program: Program) -> tuple[int, int]:
    """Count the compiled lines of Go and of C, without the standard library and without headers."""
    go = go_for_linux(cache_dir(), GO_DEFAULT, print_progress)
    with tempfile.TemporaryDirectory(prefix="lines-") as folder:
        clone = ["git", "clone", "--quiet", "--branch", program.version, str(made), folder]
        subprocess.run(clone, check=True, capture_output=True)
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "GOTOOLCHAIN": "local", "CGO_ENABLED": "1"}
        listed = [f"{go}/bin/go", "list", "-deps", "-json=Dir,Standard,GoFiles,CgoFiles,CFiles", program.package]
        done = subprocess.run(listed, cwd=folder, env=environment, check=True, capture_output=True, text=True)
        packages = json.loads("[" + done.stdout.replace("}\n{", "},{") + "]")
        own = [one for one in packages if not one.get("Standard")]
        return sum(_count(one, "GoFiles", "CgoFiles") for one in own), sum(_count(one, "CFiles") for one in own)


def _count(package: Mapping[str, Any], *kinds: str) -> int:
    files = [Path(package["Dir"], name) for kind in kinds for name in package.get(kind, ())]
    return sum(len(file.read_bytes().splitlines()) for file in files)
