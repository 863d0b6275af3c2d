"""docs/programs.md, made from bench/results/programs.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.fleet import ROOT

PAGE = ROOT / "docs" / "programs.md"
HEAD = """\
# Programs that were built

Written by `make programs` (`python -m bench.programs [NAME...]`, about 20 minutes); do not edit.

First the project's own example, and a program of ours around SQLite in `mattn/go-sqlite3` (`lab/sqlite.py`), static
with musl. Then programs that were not written for this project. Their source, and the source of every module that they
import, comes from Debian's `golang-*-dev` packages; the lab makes git repositories of it, with a `vendor/` folder
(`lab/foreign/`). Each was built through `deploys/drill.py`, with group data and nothing else. The Windows builder
runs the real `go.exe` and Git for Windows under Wine ([lab-windows.md](lab-windows.md)). Programs with C are built by a
Linux standby builder with Zig, which compiles nothing under Wine ([cgo.md](cgo.md)).

* **Go**, **C**: lines that are compiled for linux/amd64, without the standard library and C's headers.
* **cold**: seconds of `go build` on a fresh builder; the second platform of a program reuses nothing of the first.
* **warm**: seconds of `go build` of the next commit, which changes one line of the main package (for the example: the
  build of its other release).
* **equal**: the SHA-256 is that of the binary that the Linux toolchain of the same version makes from the same commit
  with the same flags, in its own clone; with C, with the same Zig, unpacked elsewhere and with empty caches.
* **on a target**: the linux/amd64 binary on Debian bookworm. Services were rolled out by `deploys/fallback.py`, with a
  health check.

| program | version | Go | C | cgo | builder | platform | cold s | warm s | MB | SHA-256 | equal | on a target |
|---|---|---:|---:|---|---|---|---:|---:|---:|---|---|---|
"""
TAIL = """
Seconds on {cores} cores ({cpu}) that other work used too: each line has the load. Measured:

"""


def page(found: Mapping[str, Any]) -> str:
    """The whole page."""
    lines, last = [], ""
    for row in found["rows"]:
        same, last = row["program"] == last, row["program"]
        cells = [
            *([""] * 5 if same else _program(row)),
            row["builder"],
            row["platform"],
            f"{row['cold']:.1f}",
            f"{row['warm']:.1f}",
            f"{row['size'] / 1e6:.1f}",
            f"`{row['sha256'][:12]}`",
            row["equal"],
            row["ran"],
        ]
        lines.append(f"| {' | '.join(cells)} |\n")
    when: dict[str, list[str]] = {}
    for row in found["rows"]:
        when[row["measured"]] = list(dict.fromkeys([*when.get(row["measured"], []), row["program"]]))
    runs = [f"* {', '.join(names)}: {measured}\n" for measured, names in sorted(when.items())]
    return HEAD + "".join(lines) + TAIL.format(**found["about"]) + "".join(runs)


def _program(row: Mapping[str, Any]) -> tuple[str, ...]:
    c_lines = f"{row['c_lines']:,}" if row["cgo"] else ""
    return row["program"], row["version"], f"{row['lines']:,}", c_lines, "yes" if row["cgo"] else "no"


def write(found: Mapping[str, Any]) -> Path:
    """Write the page and return its path."""
    PAGE.write_text(page(found), encoding="utf-8")
    return PAGE
