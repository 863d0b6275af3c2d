"""A vulnerability database in Go's own format, with a test's entries, and Debian's govulncheck to read it.

No package registry has the real database (vuln.go.dev). The format is that of
https://go.dev/doc/security/vuln/database: `index/db.json`, `index/modules.json`, and one OSV entry a file in `ID/`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.cache import Report, build_once, cache_dir, print_progress
from lab.model import LabError
from lab.windows.debs import download_debs
from lab.windows.errors import WindowsLabError

PACKAGE = {"govulncheck": ("1.0.4-1", "0c8be3ebcfecbac9f85f487d5523e3294b367c00c781a4d0b2163b06e6e79f3b")}
"""From the suite in `lab.windows.pins.DEBIAN_SUITE`. Bookworm's is too old: it prints an older format."""


@dataclass(frozen=True)
class Entry:
    """One vulnerability of one module."""

    id: str
    module: str
    """Path of the module; `stdlib` for Go's own packages."""
    fixed: str
    """First version without it, such as `1.2.4`; empty if there is none yet."""
    packages: Mapping[str, list[str]] = field(default_factory=dict)
    """Package -> vulnerable functions; an empty list: all of them."""
    aliases: tuple[str, ...] = ()
    summary: str = "made by the lab"

    def osv(self, modified: str) -> dict[str, Any]:
        """The entry in the form of https://ossf.github.io/osv-schema."""
        events = [{"introduced": "0"}, *([{"fixed": self.fixed}] if self.fixed else [])]
        imports = [
            {"path": path, **({"symbols": symbols} if symbols else {})} for path, symbols in self.packages.items()
        ]
        return {
            "schema_version": "1.3.1",
            "id": self.id,
            "modified": modified,
            "published": modified,
            "aliases": list(self.aliases),
            "summary": self.summary,
            "details": self.summary,
            "affected": [
                {
                    "package": {"name": self.module, "ecosystem": "Go"},
                    "ranges": [{"type": "SEMVER", "events": events}],
                    "ecosystem_specific": {"imports": imports},
                }
            ],
        }


def write(folder: Path, entries: Iterable[Entry], modified: datetime | None = None) -> str:
    """Write a database; return its URL for `vulnerabilities.database`.

    Args:
        folder: new folder.
        entries: known vulnerabilities.
        modified: time of the last change; default: now.
    """
    at = (modified or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    known = list(entries)
    modules: dict[str, list[dict[str, str]]] = {}
    for one in known:
        fixed = {"fixed": one.fixed} if one.fixed else {}
        modules.setdefault(one.module, []).append({"id": one.id, "modified": at, **fixed})
    _json(folder / "index" / "db.json", {"modified": at})
    _json(folder / "index" / "modules.json", [{"path": path, "vulns": found} for path, found in modules.items()])
    for one in known:
        _json(folder / "ID" / f"{one.id}.json", one.osv(at))
    return folder.as_uri()


def _json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def govulncheck(report: Report = print_progress) -> Path:
    """Unpack Debian's govulncheck into the cache if it is missing; return the program. LabError if that fails."""
    final = cache_dir() / "trees" / "govulncheck"

    def unpack(folder: Path) -> None:
        (deb,) = download_debs(cache_dir() / "downloads", report, PACKAGE)
        subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True)

    try:
        build_once(final, unpack, "govulncheck (Debian)", report)
    except WindowsLabError as error:
        raise LabError(str(error)) from None
    return final / "usr" / "bin" / "govulncheck"
