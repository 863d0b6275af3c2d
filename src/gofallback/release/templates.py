"""Finds the templates: the project's `templates/` first, then those that come with gofallback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: File names of all templates.
NAMES = ("service.service.j2", "service.socket.j2", "health.service.j2", "health.timer.j2", "environment.j2")


def shipped() -> Path:
    """Folder of the templates that come with gofallback.

    In a wheel they are package data (pyproject.toml, force-include); in a checkout they are the top-level `templates/`.
    """
    package = Path(__file__).parents[1]
    inside = package / "templates"
    return inside if inside.is_dir() else package.parents[1] / "templates"


def load(project: Path | None = None) -> Mapping[str, str]:
    """Text of every template.

    Args:
        project: folder of the user's project; a file of the same name in its `templates/` replaces the shipped one.

    Raises:
        OSError: a shipped template is missing.
    """
    texts = {}
    for name in NAMES:
        own = project / "templates" / name if project else None
        texts[name] = (own if own and own.is_file() else shipped() / name).read_text("utf-8")
    return texts
