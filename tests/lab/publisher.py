"""A controller with versions to publish, and the command as a person runs it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gofallback.controller.store import ArtifactStore
from tests.lab.stores import TOKEN
from tests.unit.specs import SPEC, manifest_of

SMALL = b"\x7fELF a program " * 20_000
MIB = 1 << 20
LARGE = random.Random(4).randbytes(40 * MIB)
"""More than two parts of a multipart upload."""
FILES = ["hello-linux-amd64", "hello-linux-amd64.manifest.json", "hello-windows-amd64.exe"]
FILES += ["hello-windows-amd64.manifest.json", "checksums.txt"]

Result = subprocess.CompletedProcess[str]


def _store_of(home: Path, version: str, content: dict[str, bytes]) -> None:
    """An artifact store with one version: content by platform."""
    store = ArtifactStore(home / "artifacts")
    for platform, data in content.items():
        spec = SPEC.model_copy(update={"platform": platform, "version": version, "package": "."})
        file = home / "binary"
        file.write_bytes(data)
        store.add(manifest_of(spec, data), file)


def controller(home: Path) -> Path:
    """A controller with v1.0.0 (small), v1.1.0 (small, two platforms) and v2.0.0 (large)."""
    _store_of(home, "v1.0.0", {"linux/amd64": SMALL})
    _store_of(home, "v1.1.0", {"linux/amd64": SMALL, "windows/amd64": SMALL[::-1]})
    _store_of(home, "v2.0.0", {"linux/amd64": LARGE})
    return home


@dataclass(frozen=True)
class Publisher:
    """`gofallback publish` in a project of its own."""

    home: Path
    project: Path

    def __call__(self, *arguments: str, data: dict[str, Any] | None = None, **environment: str) -> Result:
        (self.project / "group_data").mkdir(exist_ok=True)
        if data is not None:
            (self.project / "group_data" / "all.py").write_text(f"publish = {data!r}\n")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        own = {"GOFALLBACK_HOME": str(self.home), "HOME": str(self.project), "LAB_TOKEN": TOKEN}
        result = subprocess.run(
            [sys.executable, "-m", "gofallback.cli.main", "publish", *arguments],
            cwd=self.project,
            env=clean | own | environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert TOKEN not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result


def states(result: Result) -> dict[str, str]:
    return {row["file"]: row["state"] for row in json.loads(result.stdout)["files"]}


def last_line(result: Result) -> str:
    """The one line of an error."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("gofallback: ")]
    assert len(lines) == 1, result.stderr
    return lines[0]
