"""The controller's cache of modules."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from gofallback.gobuild.modules import (
    h1,
)
from gofallback.gomod.download import ModuleFile, verify


def test_a_damaged_file_of_the_cache_is_found_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "v1.0.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m@v1.0.0/m.go", "package m\n")
    good = h1({"m@v1.0.0/m.go": hashlib.sha256(b"package m\n").digest()})
    assert verify(ModuleFile("m/@v/v1.0.0.zip", path, path.stat().st_size, good))
    (tmp_path / "v1.0.0.ziphash").write_text(good)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"package m", b"package x"))
    assert not verify(ModuleFile("m/@v/v1.0.0.zip", path, path.stat().st_size, good))
    assert list(tmp_path.iterdir()) == []
