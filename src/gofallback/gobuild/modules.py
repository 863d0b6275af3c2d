"""Where the modules of a commit come from, which ones its go.sum names, and the settings of go for them. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote

from gofallback.gobuild.failure import Failure
from gofallback.model.modules import ModuleSetting, PrivateModules

ModuleSource = Literal["vendor", "controller", "download", "none"]

#: For people.
MODULE_SOURCES: dict[ModuleSource, str] = {
    "vendor": "modules are in the commit (vendor/)",
    "controller": "modules are brought by the controller",
    "download": "modules are downloaded by the builder",
    "none": "no modules are needed",
}
#: Files that decide which modules a commit needs; no other file is read for that.
MODULE_FILES = ("go.mod", "go.sum", "go.work", "go.work.sum")


@dataclass(frozen=True)
class Sum:
    """One line of go.sum."""

    path: str
    version: str
    gomod: bool
    """The hash is of go.mod alone, not of the module's files."""
    hash: str
    """``h1:...``"""


#: golang.org/x/mod/module, CheckPath, and versions of semver. Both become file names on controller and builder, and
#: go.sum comes from the repository: go itself does not check them when it reads the file.
_PATH = re.compile(r"[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*")
_VERSION = re.compile(r"v[A-Za-z0-9.+-]+")


def parse_sums(text: str) -> set[Sum]:
    """Read go.sum or go.work.sum; lines with an impossible module or version are left out."""
    found = set()
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[2].startswith("h1:"):
            version, gomod = words[1].removesuffix("/go.mod"), words[1].endswith("/go.mod")
            if _PATH.fullmatch(words[0]) and not {".", ".."} & {*words[0].split("/")} and _VERSION.fullmatch(version):
                found.add(Sum(words[0], version, gomod, words[2]))
    return found


@dataclass(frozen=True)
class ModuleFiles:
    """The module files of one commit."""

    directory: str
    """``build.directory`` without a leading dot; empty for the top."""
    files: Mapping[str, bytes]
    """Path within the commit to content, of `MODULE_FILES` only."""
    vendored: frozenset[str] = frozenset()
    """Folders with a ``vendor/modules.txt``; an empty name for the top."""

    @property
    def digest(self) -> str:
        """64 hex digits: equal digests need equal modules."""
        total = hashlib.sha256(self.directory.encode())
        for name, content in sorted(self.files.items()):
            total.update(f"\0{name}\0{len(content)}\0".encode() + content)
        return total.hexdigest()

    @property
    def workspace(self) -> str | None:
        """The nearest go.work in ``directory`` or above it, where go looks; within the commit only."""
        at = self.directory
        while True:
            name = f"{at}/go.work" if at else "go.work"
            if name in self.files:
                return name
            if not at:
                return None
            at = at.rpartition("/")[0]

    @property
    def vendor(self) -> bool:
        """Whether go finds a vendor folder: the workspace's where there is one, else the module's own."""
        home = self.directory
        if self.workspace is not None:
            home = self.workspace.rpartition("/")[0]
        return home in self.vendored

    @property
    def sums(self) -> set[Sum]:
        """The entries of every go.sum and go.work.sum of the commit."""
        texts = (content for name, content in self.files.items() if name.endswith(".sum"))
        return {entry for content in texts for entry in parse_sums(content.decode(errors="replace"))}

    @property
    def needs_any(self) -> bool:
        """Whether the commit requires any module."""
        gomod = (content for name, content in self.files.items() if name.endswith("go.mod"))
        return bool(self.sums) or any(re.search(rb"(?m)^\s*require\b", content) for content in gomod)

    @property
    def go(self) -> str:
        """The highest ``go`` line, such as 1.26 or 1.26.6; empty when there is none."""
        found = []
        for name, content in self.files.items():
            if name.endswith(("go.mod", "go.work")):
                found += re.findall(rb"(?m)^go\s+(\d+\.\d+(?:\.\d+)?)", content)
        return max((version.decode() for version in found), key=version_number, default="")


def version_number(text: str) -> tuple[int, ...]:
    """``1.26.6`` as numbers, for comparisons; ``1.27rc1`` as 1 and 27."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[a-z]", text)[0]))


#: Causes of `gofallback.gobuild.build_failure` for a changed and for a missing file.
_CHANGED = re.compile(r"\(checksum mismatch\)|archive of a module is damaged")
_MISSING = re.compile(r"module lookup disabled by GOPROXY=off")


@dataclass(frozen=True)
class Modules:
    """How one build gets its modules."""

    source: ModuleSource | None = None
    """None: go decides, and downloads."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of every go command."""

    @property
    def flags(self) -> list[str]:
        """Arguments of go. Always given, since they win over GOFLAGS: a build never adds to go.sum."""
        if self.source is None:
            return []
        return ["-mod=vendor"] if self.source == "vendor" else ["-mod=readonly"]

    def suspects_sent_files(self, failure: Failure) -> bool:
        """Whether a failure may come from files of the controller that are missing or changed on the builder."""
        return self.source == "controller" and bool(_CHANGED.search(failure.cause) or _MISSING.search(failure.cause))

    def with_remedy(self, failure: Failure) -> Failure:
        """A failure of go with the remedy for this source of modules."""
        if not self.suspects_sent_files(failure):
            return failure
        if _MISSING.search(failure.cause):
            remedy = (
                "run `go mod tidy` in the source and commit go.sum; if it names that module, remove the folder "
                "cache/modproxy on the builder and run again: all of it is sent again"
            )
        else:
            remedy = (
                "the controller has verified what it sent, so the builder's copy was changed or damaged: remove the "
                "folders cache/modproxy and cache/gomodcache on the builder and run again; if it comes back, do not "
                "use that builder"
            )
        return replace(failure, remedy=remedy)


def choose_source(
    setting: ModuleSetting,
    files: ModuleFiles,
    private: PrivateModules,
    environments: Iterable[Mapping[str, str]],
    *,
    controller_can: bool,
) -> ModuleSource:
    """Where this commit's modules come from.

    ``auto``: vendor/ where there is one; nothing where the commit requires no module; the builder's proxy where group
    data names one; else the controller, since then the builder needs no network, no credential and no trust, and a
    later build works without any server; a controller without Go leaves it to the builder.

    Args:
        setting: ``build.modules``.
        files: of the commit.
        private: ``build.private``.
        environments: of the service and of the builder.
        controller_can: the controller has a Go, or a pin for one.
    """
    if setting != "auto":
        return "none" if setting == "controller" and not files.needs_any else setting
    if files.vendor:
        return "vendor"
    if not files.needs_any:
        return "none"
    if private.logins:
        return "controller"
    if any(environment.get("GOPROXY") or "-modfile" in environment.get("GOFLAGS", "") for environment in environments):
        return "download"  # -modfile names another go.mod than the one read here
    return "controller" if controller_can or private.patterns else "download"


def escape(text: str) -> str:
    """A module path or version as file name: capital letters become ``!`` and a small one (golang.org/x/mod/module)."""
    return re.sub(r"[A-Z]", lambda match: "!" + match.group(0).lower(), text)


def proxy_name(path: str, version: str, kind: Literal["info", "mod", "zip"]) -> str:
    """Path of a module's file below the root of a proxy."""
    return f"{escape(path)}/@v/{escape(version)}.{kind}"


def builder_environment(source: ModuleSource, private: PrivateModules, proxy_folder: str) -> dict[str, str]:
    """Variables of go on the builder about modules, on top of all others.

    ``controller``: go reads the folder of files only. GOPRIVATE must be empty, or go would bypass that folder. GOSUMDB
    is off because no server can be reached; go verifies every module with go.sum, and refuses a module that go.sum does
    not name (``-mod=readonly``).

    Args:
        source: see `choose_source`.
        private: ``build.private``.
        proxy_folder: the builder's folder of files, as a path of its own system.
    """
    if source == "download":
        return private.variables()
    if source != "controller":
        return {}
    closed = dict.fromkeys(("GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE"), "")
    return closed | {"GOPROXY": f"{file_url(proxy_folder)},off", "GOSUMDB": "off", "GOVCS": "*:off", "GOAUTH": "off"}


def file_url(folder: str) -> str:
    r"""``file:///C:/gofallback/cache/modproxy`` or ``file:///opt/gofallback/cache/modproxy``."""
    path = folder.replace("\\", "/") if re.match(r"[A-Za-z]:", folder) else folder
    return "file:///" + quote(path.lstrip("/"), safe="/:-._~!")


def h1(names: Mapping[str, bytes]) -> str:
    """The hash of go.sum (golang.org/x/mod/sumdb/dirhash, Hash1).

    Args:
        names: name of each file to the 32 bytes of its SHA-256.
    """
    total = hashlib.sha256()
    for name, digest in sorted(names.items(), key=lambda item: item[0].encode()):
        total.update(f"{binascii.hexlify(digest).decode()}  {name}\n".encode())
    return "h1:" + base64.b64encode(total.digest()).decode()


def receipt(names: Iterable[tuple[str, int]]) -> str:
    """16 hex digits over names and sizes of the files a builder has to have; the name of its receipt."""
    text = "".join(f"{name} {size}\n" for name, size in sorted(names))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
