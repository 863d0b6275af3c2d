"""Files of a release that ``files`` of group data names: known by their content, sent as they are. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gofallback.model.binaries import FILE_NAME

#: Bytes up to which a text is shown in a diff; the target tells as much of what it has (`release.probe`).
SHOWN = 1 << 16
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOLDERS = ("bin", "lib", "conf")


@dataclass(frozen=True)
class Extra:
    """One file: what it is, and where the controller has it."""

    sha256: str
    size: int
    """Bytes."""
    local: Path
    """On the controller, under its content's name, so that nobody changes it while it is sent."""
    mode: int = 0o644
    """0644 or 0755."""
    shown: bytes | None = None
    """The content, where it is a text that a diff can show."""

    def __str__(self) -> str:
        return f"{self.size} bytes, sha256 {self.sha256[:12]}{', executable' if self.mode & 0o111 else ''}"


def as_text(content: bytes) -> bytes | None:
    """The content where a diff can show it: UTF-8 without NUL, at most `SHOWN` bytes."""
    if len(content) > SHOWN or b"\0" in content:
        return None
    try:
        content.decode()
    except UnicodeDecodeError:
        return None
    return content


def contents_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Path inside a release to SHA-256 of its programs and further files, as its manifest.json says.

    A target may be damaged or hostile: whatever is no path or no hash of ours is left out.
    """
    spec, given = manifest.get("spec"), manifest.get("contents")
    found: dict[Any, Any] = dict(given) if isinstance(given, dict) else {}
    if isinstance(spec, dict) and isinstance(spec.get("binary"), str):
        found[f"bin/{spec['binary']}"] = manifest.get("sha256")
    return {path: sum_ for path, sum_ in found.items() if _ours(path) and _SHA256.fullmatch(str(sum_))}


def _ours(path: object) -> bool:
    parts = str(path).split("/")
    names = all(FILE_NAME.fullmatch(part) and part not in (".", "..") for part in parts)
    return names and len(parts) > 1 and parts[0] in _FOLDERS
