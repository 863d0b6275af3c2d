"""The toolchain archives of a Linux builder, in the form of their vendors: Go, Git and Zig as `.tar.gz`.

Git has no archive of its own for Linux. As for a real host, it is made from a distribution's package (or is that of
dugite-native): `bin/git` and `libexec/git-core`. Every Debian has the libraries that git needs (pcre2, zlib).
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from lab.cache import Report, locked
from lab.model import LabError
from lab.windows import fetch, pins
from lab.windows.debs import download_debs
from lab.windows.errors import WindowsLabError
from lab.windows.trees import Archive, go_for_linux, kept_archive

SUITE: Final = pins.DEBIAN_SUITE
"""Debian release of the Linux builders, and of their git."""
GIT_VERSION: Final = "2.47.3"
_GIT: Final = {
    "git": ("1:2.47.3-0+deb13u1", "3e35662fd5c46add561703e54031a1d8ad9df45811927689f0a51122b13be722"),
}
_EPOCH = 315532800
"""1980-01-01 in Unix seconds, so that equal inputs give equal archives."""
#: The parts of git's package that a builder needs: no perl, no mail, no daemons.
_GIT_PARTS = {"usr/bin/git": "bin/git", "usr/lib/git-core": "libexec/git-core"}
_GIT_PARTS |= {"usr/share/git-core/templates": "share/git-core/templates"}


def ensure(cache: Path, report: Report) -> dict[str, dict[str, dict[str, str]]]:
    """Make the archives once; return kind -> version -> file, sha256. LabError if a download or a step fails."""
    folder = cache / "trees" / "toolchains"
    folder.mkdir(parents=True, exist_ok=True)

    def report_line(line: str) -> None:
        report(line.removeprefix("==> "))

    try:
        with locked(cache / "trees" / ".linux-toolchains.lock", "toolchains for Linux", report):
            go = {version: _go(cache, folder, version, report_line) for version in pins.GO_WHEELS}
            git = {GIT_VERSION: _git(cache, folder, report_line)}
            zig = {pins.ZIG_VERSION: _zig(cache, folder, report_line)}
    except WindowsLabError as error:
        raise LabError(str(error)) from None
    return {
        kind: {version: {"file": str(one.file), "sha256": one.sha256} for version, one in found.items()}
        for kind, found in {"go": go, "git": git, "zig": zig}.items()
    }


def _go(cache: Path, folder: Path, version: str, report: Report) -> Archive:
    def make(final: Path) -> None:
        _pack(go_for_linux(cache, version, report), "go", final)

    return kept_archive(folder / f"go{version}.linux-amd64.tar.gz", f"go {version} for Linux builders", make, report)


def _git(cache: Path, folder: Path, report: Report) -> Archive:
    def make(final: Path) -> None:
        (deb,) = download_debs(cache / "downloads", report, _GIT)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".git-") as scratch:
            package, home = Path(scratch) / "deb", Path(scratch) / "home"
            subprocess.run(["dpkg-deb", "-x", str(deb), str(package)], check=True)
            for source, target in _GIT_PARTS.items():
                (home / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(package / source, home / target)
            _pack(home, "", final)

    name = f"git-{GIT_VERSION}-linux-amd64.tar.gz"
    return kept_archive(folder / name, f"git {GIT_VERSION} for Linux builders", make, report)


def _zig(cache: Path, folder: Path, report: Report) -> Archive:
    def make(final: Path) -> None:
        wheel = fetch.zig_wheel(cache / "downloads", "manylinux2010_x86_64")
        with tempfile.TemporaryDirectory(dir=folder, prefix=".zig-") as scratch, zipfile.ZipFile(wheel) as source:
            source.extractall(scratch, [name for name in source.namelist() if name.startswith("ziglang/")])
            home = Path(scratch) / "ziglang"
            (home / "zig").chmod(0o755)
            for stray in home.glob("__*__.py"):
                stray.unlink()
            _pack(home, final.name.removesuffix(".tar.gz"), final)

    name = f"zig-x86_64-linux-{pins.ZIG_VERSION}.tar.gz"
    return kept_archive(folder / name, f"zig {pins.ZIG_VERSION} for Linux builders", make, report)


def _pack(source: Path, top: str, final: Path) -> None:
    temporary = final.with_name(f".{final.name}.building")
    with tarfile.open(temporary, "w:gz", compresslevel=1) as archive:
        for path in sorted(source.rglob("*")):
            entry = archive.gettarinfo(path, str(Path(top) / path.relative_to(source)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = _EPOCH
            if entry.isreg():
                with path.open("rb") as stream:
                    archive.addfile(entry, stream)
            else:
                archive.addfile(entry)
    temporary.replace(final)
