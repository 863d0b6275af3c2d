"""Extra files of a release (``files`` in group data): identified by their content, sent unchanged. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gofallback.model.binaries import FILE_NAME

#: Largest text that a diff shows, in bytes; for files in lib/ `release.state_script` has a limit of its own.
DIFF_LIMIT = 1 << 16
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOLDERS = ("bin", "lib", "conf")


@dataclass(frozen=True)
class ExtraFile:
    """One file, and its path on the controller."""

    sha256: str
    size: int
    """Bytes."""
    local: Path
    """On the controller, named after its content, so that it does not change while it is sent."""
    mode: int = 0o644
    """0644 or 0755."""
    text: bytes | None = None
    """The content, if a diff can show it."""

    def __str__(self) -> str:
        return f"{self.size} bytes, sha256 {self.sha256[:12]}{', executable' if self.mode & 0o111 else ''}"


def diffable(content: bytes) -> bytes | None:
    """The content if a diff can show it: UTF-8 without NUL, at most `DIFF_LIMIT` bytes; else None."""
    if len(content) > DIFF_LIMIT or b"\0" in content:
        return None
    try:
        content.decode()
    except UnicodeDecodeError:
        return None
    return content


def manifest_contents(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Path inside a release to SHA-256 of its programs and extra files, from its manifest.json.

    A target may be damaged or hostile: entries with an invalid path or hash are skipped.
    """
    spec, listed = manifest.get("spec"), manifest.get("contents")
    entries: dict[Any, Any] = dict(listed) if isinstance(listed, dict) else {}
    if isinstance(spec, dict) and isinstance(spec.get("binary"), str):
        entries[f"bin/{spec['binary']}"] = manifest.get("sha256")
    return {path: sha256 for path, sha256 in entries.items() if _valid(path) and _SHA256.fullmatch(str(sha256))}


def _valid(path: object) -> bool:
    parts = str(path).split("/")
    names = all(FILE_NAME.fullmatch(part) and part not in (".", "..") for part in parts)
    return names and len(parts) > 1 and parts[0] in _FOLDERS
