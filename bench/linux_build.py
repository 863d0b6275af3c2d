"""A plain Linux build of a clone with the same flags, to compare with a builder's artifact.

With C, the compiler is the same Zig, unpacked for this one build, with empty caches. Its arguments are written here
from docs/cgo.md, independent of the product's code.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from gofallback.artifact.cgo_spec import CgoSpec
from gofallback.artifact.spec import BuildSpec
from gofallback.gobuild import plan
from lab.cache import cache_dir, print_progress
from lab.linux import toolchains
from lab.windows.trees import go_for_linux


def built_on_linux(repository: Path, spec: BuildSpec, scratch: Path) -> str:
    """Build a spec from a fresh clone with this machine's Linux toolchain of the same version; return the SHA-256.

    Args:
        repository: source of the clone.
        spec: the build. With cgo only Zig, without flags or a sysroot.
        scratch: an existing folder, left empty.

    Raises:
        subprocess.CalledProcessError: the build failed; Go's message is on stderr.
    """
    goroot = go_for_linux(cache_dir(), spec.go_version, print_progress)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="linux-") as folder:
        clone, output = Path(folder, "clone"), Path(folder, "out")
        subprocess.run(["git", "clone", "--quiet", str(repository), str(clone)], check=True)
        subprocess.run(["git", "-C", str(clone), "checkout", "--quiet", spec.commit], check=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "GOROOT": str(goroot),
            "GOTOOLCHAIN": "local",
            "GOPROXY": "off",
            "GOCACHE": str(cache_dir() / "trees" / "gocache-linux"),
            "CGO_ENABLED": "0",
            "GOOS": spec.goos,
            "GOARCH": spec.goarch,
            **(_with_c(spec.cgo, Path(folder)) if spec.cgo else {}),
        }
        argv = plan.build_argv(spec, f"{goroot}/bin/go", str(output))
        subprocess.run(argv, cwd=clone / spec.directory, env=environment, check=True)
        return hashlib.sha256(output.read_bytes()).hexdigest()


def _with_c(cgo: CgoSpec, folder: Path) -> dict[str, str]:
    archive = toolchains.ensure(cache_dir(), print_progress)["zig"][cgo.version]["file"]
    with tarfile.open(archive) as opened:
        opened.extractall(folder / "zig", filter="data")
    (zig,) = folder.glob("zig/*/zig")
    return {
        "CGO_ENABLED": "1",
        "CC": f"{zig} cc -target {cgo.target}",
        "CXX": f"{zig} c++ -target {cgo.target}",
        **dict.fromkeys(("CGO_CFLAGS", "CGO_CXXFLAGS", "CGO_LDFLAGS"), "-O2"),
        **dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(folder / "zig-cache")),
    }
