"""Debian's GCC for a Linux builder of the lab, for amd64 and arm64, and QEMU to run its arm64 binaries.

The files are those of `apt-get install gcc-aarch64-linux-gnu gcc-x86-64-linux-gnu`, but unpacked and not installed: a
builder of the lab has no network. The packages are from Debian 13, like the builder.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lab.cache import Report, build_once, cache_dir, print_progress
from lab.linux.host import LinuxHost
from lab.model import LabError
from lab.windows.debs import download_debs
from lab.windows.errors import WindowsLabError
from lab.windows.pins import DEBIAN_SUITE
from lab.windows.process import hash_of_files

VERSION: Final = "14.2.0"
"""The version of both compilers."""
_CROSS: Final = {
    "gcc-aarch64-linux-gnu": ("4:14.2.0-1", "ff536dd2b6a7f2879cf83ebadd7cc4af3e7234a87226a2ba97bbf0a857e930da"),
    "gcc-14-aarch64-linux-gnu": (
        "14.2.0-19cross1",
        "489acd3a7479d7e55c01e7f3af10176b70a99ec8c2230ba63cacdbcf2e6e0692",
    ),
    "cpp-14-aarch64-linux-gnu": (
        "14.2.0-19cross1",
        "6610dda7938376fefcbc3b49c81cd23c82e86411a488e4c9a69c082f2acd714e",
    ),
    "binutils-aarch64-linux-gnu": ("2.44-3", "6e5a9be38121213dda42189a525db01aad4dc52194b577d7d73d659a5843ce6c"),
    "libc6-arm64-cross": ("2.41-11cross1", "82cd3a0c6754d36cb5a7acbd9fa64c38080a681608c41165736dc88438acfc71"),
    "libc6-dev-arm64-cross": ("2.41-11cross1", "61e0b87dec4929abc9fb345ef324139498bf23ddbf0b10ca3a743b59c8ddf8bb"),
    "linux-libc-dev-arm64-cross": (
        "6.12.38-1cross1",
        "fd77c13fedf057038732ef1c4fc06edd753d08092fd5f92c4629551f1f69870f",
    ),
    "libgcc-14-dev-arm64-cross": (
        "14.2.0-19cross1",
        "44d31567993f2f138638e3088cc75240d13c7d8a2ebe69032aafd37bc35c7a6f",
    ),
    "libgcc-s1-arm64-cross": ("14.2.0-19cross1", "272751f04dc1669c6368005ccea3496b28626c720c64c98980f705350f4c6b6b"),
}
_NATIVE: Final = {
    "gcc-x86-64-linux-gnu": ("4:14.2.0-1", "04c28c2760b0094b3d7758154ac095303dd00599b63ebad4086a325b607308b7"),
    "gcc-14-x86-64-linux-gnu": ("14.2.0-19", "a17ef039f1ba482051c3efb5c2c24070002e60dd0bd09fd456ec31481a11b725"),
    "cpp-14-x86-64-linux-gnu": ("14.2.0-19", "ef274b5379f5f97fc71619d39ecc84d039d3e184570d207b909c90afaa5d79e0"),
    "binutils-x86-64-linux-gnu": ("2.44-3", "e6741ce95ff0f7a131c8d9faa3528ccbbc453078bbc62a97da81340ed7462c53"),
    "binutils": ("2.44-3", "6bc08c02539ba53b5e748142397144c499f9b20b5fa9bb56431545db124addeb"),  # its `as` and `ld`
    "libc6-dev": ("2.41-12+deb13u4", "1fda734dabcd80b77266a09ab62b0f1e3e16d8091db62899890b2200745632a2"),
    "linux-libc-dev": ("6.12.107-1", "dc68dd53c7356598d005866da0d19d7bd33af2a62971aced624cdf04492902b4"),
    "libgcc-14-dev": ("14.2.0-19", "ca6f2d36d96b19b3eb71405b0b80134d8c89380b02204a2512e5c58ceb090628"),
    "libbinutils": ("2.44-3", "4f4664c8a8f0ad0c8631c39fab02e3d8d86ccc6f4436a1d59f059dbcb0492679"),
    "libctf0": ("2.44-3", "120cafcd93132a276fa92a8fb4cf39b23d14e5a3e348f4f5580638d71ca95ac5"),
    "libctf-nobfd0": ("2.44-3", "e280b2be3db6e584500e865c251605b95c346767d87ccb2524e44992048fc657"),
}
_SHARED: Final = {
    "libisl23": ("0.27-1", "ac8518042e81c00de1effb72bba7e88ac4ecd488f7ea8b9e3ebc63159cb53b35"),
    "libmpc3": ("1.3.1-1+b3", "2af0a5c128e03694a41c0b011bd8a958b7297436cdb3a15ddad7866dae8c300b"),
    "libmpfr6": ("4.2.2-1", "75dddce11dabc7fc543712c33dc27b7f2ee66a111763eb5eac654d010b42cd92"),
    "libjansson4": ("2.14-2+b3", "60707a62fe6c1228c3389b12a13ca4efd76defc5532473e547a29e99cf7d2a6e"),
    "libsframe1": ("2.44-3", "38f625dfdc582717029ac3a3e97c51d994ec2e7a0e9b230c6b44e40d1276311f"),
}
_OLDER_LIBC: Final = {
    "libc6": ("2.31-13+deb11u11", "05f7264da867b37f4c5ce49266b558ea1e81e05a9464f623152fca70f3550282"),
    "libc6-dev": ("2.31-13+deb11u11", "e7f7b45d9c5cfcf37609f0b6efd3c645272c812144703af89dfd32218fcb0fd3"),
}
_QEMU: Final = {
    "qemu-user": ("1:10.0.13+ds-0+deb13u1", "ca6ede739327a20ae5a3498230c8a3a9a072c586e131bc6bcc1201eb1725e336"),
}
#: Half of the packages' contents, not needed for C: link-time optimization, sanitizers, documentation.
_LEFT_OUT = ("usr/share", "usr/**/lto1", "usr/**/lto-dump", "usr/**/lib*san.a", "usr/bin/*lto-dump*")


def compilers(report: Report = print_progress) -> Path:
    """A folder with `usr/`, the contents of the packages (65 MB the first time). LabError if a download fails."""

    def make(part: Path) -> None:
        for deb in _debs({**_CROSS, **_NATIVE, **_SHARED}, report):
            subprocess.run(["dpkg-deb", "-x", str(deb), str(part)], check=True)
        for pattern in _LEFT_OUT:
            for path in part.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return _once("compilers", make, "GCC for amd64 and arm64 (Debian)", report)


def install(host: LinuxHost, report: Report = print_progress) -> None:
    """Copy both compilers to a host's disk, to the paths of their packages. LabError as above."""
    # Some folders below /usr/lib belong to the base system too: copy into them, never replace them.
    subprocess.run(["cp", "-a", f"{compilers(report)}/usr/.", f"{host.root}/usr/"], check=True)


def bullseye_libc(report: Report = print_progress) -> Path:
    """A sysroot for amd64 with Debian 11's glibc, for the GCC of a newer system. LabError as above."""

    def make(part: Path) -> None:
        kernel = _debs({"linux-libc-dev": _NATIVE["linux-libc-dev"]}, report)  # headers; they fit every glibc
        for deb in [*kernel, *_debs(_OLDER_LIBC, report, "bullseye")]:
            subprocess.run(["dpkg-deb", "-x", str(deb), str(part)], check=True)
        for path in (part / "usr/share", part / "etc", part / "usr/lib/x86_64-linux-gnu/gconv"):
            shutil.rmtree(path)

    return _once("bullseye", make, "glibc of Debian 11", report)


def run_arm64(program: Path, *args: str, report: Report = print_progress) -> str:
    """Run a linux/arm64 program under QEMU (cross compiler's libraries); return its output. LabError if it fails."""
    qemu = _once("qemu", lambda part: _only_arm64(part, report), "QEMU for arm64 programs (Debian, 71 MB)", report)
    libraries = compilers(report) / "usr/aarch64-linux-gnu"
    command = [str(qemu / "qemu-aarch64"), "-L", str(libraries), str(program), *args]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise LabError(f"{program.name} under QEMU: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def _only_arm64(part: Path, report: Report) -> None:
    (deb,) = _debs(_QEMU, report)
    files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
    name = "./usr/bin/qemu-aarch64"
    subprocess.run(["tar", "-x", "-C", str(part), "--strip-components=3", name], stdin=files.stdout, check=True)
    if files.wait():
        raise LabError(f"{deb.name}: dpkg-deb ended with {files.returncode}; remove it and run again")


def _debs(packages: dict[str, tuple[str, str]], report: Report, suite: str = DEBIAN_SUITE) -> list[Path]:
    return download_debs(cache_dir() / "downloads", report, packages, suite)


def _once(name: str, make: Callable[[Path], None], what: str, report: Report) -> Path:
    final = cache_dir() / "trees" / "gcc" / f"{name}-{hash_of_files([Path(__file__)])}"
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        return build_once(final, make, what, report)
    except WindowsLabError as error:
        raise LabError(str(error)) from None
