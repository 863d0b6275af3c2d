"""What somebody makes of a plain clone on Linux with the same flags: what a builder's product is compared with."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from gofallback.build import plan
from gofallback.build.spec import BuildSpec
from lab.cache import cache_dir, say
from lab.windows.trees import go_for_linux


def built_on_linux(repository: Path, spec: BuildSpec, scratch: Path) -> str:
    """SHA-256 of a spec built by this machine's Linux toolchain of the same version, from a clone of its own.

    Args:
        repository: what is cloned.
        spec: what the builder was asked for; without cgo.
        scratch: an existing folder; nothing stays in it.

    Raises:
        subprocess.CalledProcessError: it does not build; Go's words are on stderr.
    """
    goroot = go_for_linux(cache_dir(), spec.go_version, say)
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
        }
        argv = plan.build_argv(spec, f"{goroot}/bin/go", str(output))
        subprocess.run(argv, cwd=clone / spec.directory, env=environment, check=True)
        return hashlib.sha256(output.read_bytes()).hexdigest()
