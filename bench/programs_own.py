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
from lab.cache import cache_dir, say
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
    says="hello {version}",
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
    asked="-sum=40,2",
    says=f"sums {{version}} sum 42 sqlite {sqlite.SQLITE}",
    unit={"arguments": ["-listen", ":8080"]},
    health={"check": {"type": "tcp", "address": "127.0.0.1:8080"}},
)
"""SQLite in `mattn/go-sqlite3`, static with musl."""
WITH_C: Final = (SUMS,)
"""Built by the Linux builder."""


def repository(lab: Lab, program: Program) -> tuple[Path, int, int] | None:
    """The program's repository, its lines of Go and of C; None: it is none of the project's own."""
    if program is EXAMPLE:
        made = Path(lab.file.example["repository"])
        show_go = ["git", "-C", str(made), "grep", "-c", "", program.version, "--", "*.go", ":!*_test.go"]
        counted = subprocess.run(show_go, check=True, capture_output=True, text=True).stdout.splitlines()
        return made, sum(int(line.rpartition(":")[2]) for line in counted), 0
    if program not in WITH_C:
        return None
    made = sqlite.repository(say)
    return made, *_lines(made, program)


def next_commit(program: Program) -> str:
    """What is built warm."""
    # The example's second release is its newest commit: the one before it is built warm.
    return "v1.0.0" if program is EXAMPLE else "main"


def _lines(made: Path, program: Program) -> tuple[int, int]:
    """Lines of Go and of C that are compiled, the standard library left out; headers are not counted."""
    go = go_for_linux(cache_dir(), GO_DEFAULT, say)
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
