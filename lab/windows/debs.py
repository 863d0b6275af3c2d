"""Debian packages (Wine, Go source): apt downloads them with a private configuration; they are never installed."""

import os
import subprocess
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from lab.cache import Report
from lab.windows import pins
from lab.windows.errors import WindowsLabError
from lab.windows.process import check_sha256, run

_COMPILED = ("golang-github-mattn-go-sqlite3-dev",)
"""Go source that depends on a C library: one package for each architecture."""
KEYRINGS = Path("/usr/share/keyrings")
APT_CONF = """\
Dir::State "{root}"; Dir::State::lists "{root}/lists"; Dir::State::status "{root}/status"; Dir::Cache "{root}/cache";
Dir::Etc::sourcelist "{root}/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64"; APT::Sandbox::User ""; Acquire::Languages "none"; Acquire::Retries "3";
"""


def debian_mirror() -> str:
    """The Debian mirror: `GOFALLBACK_DEBIAN_MIRROR`, else the one in this machine's apt sources.

    Raises `WindowsLabError` when neither names one (Ubuntu without the variable set).
    """
    given = os.environ.get("GOFALLBACK_DEBIAN_MIRROR")
    if given:
        return given.rstrip("/")
    listed = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], "find a Debian mirror")
    for uri in listed.split():
        if urllib.parse.urlsplit(uri).path.rstrip("/").endswith("/debian"):
            return uri.rstrip("/")
    raise WindowsLabError(
        "Debian mirror: none in this machine's apt sources; set GOFALLBACK_DEBIAN_MIRROR to the URL of one, run again"
    )


def _private_apt(root: Path, suite: str) -> Mapping[str, str]:
    keyring = KEYRINGS / "debian-archive-keyring.gpg"
    if not keyring.exists():
        raise WindowsLabError(f"{keyring} is missing; run: apt-get install debian-archive-keyring")
    for folder in ("lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    (root / "sources.list").write_text(f"deb [signed-by={keyring}] {debian_mirror()} {suite} main\n")
    (root / "apt.conf").write_text(APT_CONF.format(root=root))
    return {**os.environ, "APT_CONFIG": str(root / "apt.conf"), "LC_ALL": "C.UTF-8"}


def deb_name(package: str, version: str) -> str:
    """The file name that apt gives a package: the colon of an epoch becomes %3a."""
    source = package.startswith("golang-") and package not in _COMPILED
    every = source or package.endswith("-cross") or package in ("libz-mingw-w64", "linux-libc-dev")
    arch = "all" if every else "amd64"
    return f"{package}_{version.replace(':', '%3a')}_{arch}.deb"


def download_debs(
    downloads: Path,
    report: Report,
    packages: Mapping[str, tuple[str, str]] = pins.DEBIAN_PACKAGES,
    suite: str = pins.DEBIAN_SUITE,
) -> list[Path]:
    """Download packages (name -> version, sha256) to `downloads/debs`; return their paths, one per package, in order.

    apt checks the archive's signature and the hashes of the index. A file with a pinned name must have the pinned
    SHA-256. A newer version (the archive keeps only one) is accepted on the signature alone, with a message.
    """
    debs = downloads / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    wanted = {name: debs / deb_name(name, version) for name, (version, _) in packages.items()}
    missing = [name for name, path in wanted.items() if not path.exists()]
    newer: dict[str, Path] = {}
    if missing:
        newer = _download_missing(downloads, debs, {name: packages[name][0] for name in missing}, suite, report)
    found = []
    for name, path in wanted.items():
        if name in newer:
            found.append(newer[name])
            continue
        check_sha256(path, packages[name][1], path.name)
        found.append(path)
    return found


def _download_missing(
    downloads: Path, debs: Path, missing: Mapping[str, str], suite: str, report: Report
) -> dict[str, Path]:
    env = _private_apt(downloads / ("apt" if suite == pins.DEBIAN_SUITE else f"apt-{suite}"), suite)
    run(["apt-get", "-qq", "update"], f"read the index of Debian {suite}", env=env)
    newer: dict[str, Path] = {}
    exact = [f"{name}={version}" for name, version in missing.items()]
    whole = subprocess.run(
        ["apt-get", "-qq", "download", *exact], cwd=debs, env=dict(env), capture_output=True, check=False
    )
    if whole.returncode == 0:
        return newer
    for name, version in missing.items():
        if (debs / deb_name(name, version)).exists():
            continue
        before = set(debs.iterdir())
        run(["apt-get", "-qq", "download", name], f"download Debian package {name}", env=env, cwd=debs)
        got = sorted(set(debs.iterdir()) - before) or sorted(debs.glob(f"{name}_*.deb"))
        if got and got[-1].name != deb_name(name, version):
            newer[name] = got[-1]
            report(f"    {got[-1].name}: newer than the pinned {version}; accepted on the archive's signature")
    return newer
