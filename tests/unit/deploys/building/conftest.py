"""Keys of a controller, and an artifact that they signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gofallback.controller.store import Stored
from gofallback.provenance.keys import controller_key
from tests.unit.attested import artifact, manifest


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    controller_key(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def stored(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    """Built by w1."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return Stored(artifact(tmp_path / "artifact", keys) / "hello", manifest())
