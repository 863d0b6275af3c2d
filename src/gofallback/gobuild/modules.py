"""Where the modules of a commit come from, what go.sum names, and what go is told. Pure."""

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
from gofallback.model.modules import ModuleWay, PrivateModules

Way = Literal["vendor", "controller", "download", "none"]

#: For people.
WAYS: dict[Way, str] = {
    "vendor": "modules are in the commit (vendor/)",
    "controller": "modules are brought by the controller",
    "download": "modules are downloaded by the builder",
    "none": "no modules are needed",
}
#: Files that decide which modules a commit needs; no other file is read to find that out.
MODULE_FILES = ("go.mod", "go.sum", "go.work", "go.work.sum")


@dataclass(frozen=True)
class Sum:
    """One line of go.sum."""

    path: str
    version: str
    gomod: bool
    """It is the hash of go.mod alone, not of the module's files."""
    hash: str
    """``h1:...``"""


#: golang.org/x/mod/module, CheckPath, and versions as semver has them. Both become names of files, here and there,
#: and go.sum is the repository's word: go itself does not check them when it reads the file.
_PATH = re.compile(r"[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*")
_VERSION = re.compile(r"v[A-Za-z0-9.+-]+")


def parse_sums(text: str) -> set[Sum]:
    """Read go.sum or go.work.sum; lines that name no module that can be are left out."""
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
    """The module files of one commit, as they are there."""

    directory: str
    """``build.directory``, without a dot at its begin: empty for the top."""
    files: Mapping[str, bytes]
    """Path within the commit to content, of `MODULE_FILES` only."""
    vendored: frozenset[str] = frozenset()
    """Folders that have a ``vendor/modules.txt``; empty for the top."""

    @property
    def digest(self) -> str:
        """64 hex digits: equal digests need equal modules."""
        total = hashlib.sha256(self.directory.encode())
        for name, content in sorted(self.files.items()):
            total.update(f"\0{name}\0{len(content)}\0".encode() + content)
        return total.hexdigest()

    @property
    def workspace(self) -> str | None:
        """The nearest go.work in ``directory`` or above it, as go looks for it; within the commit only."""
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
        """Whether go finds a vendor folder: the module's own, or the workspace's where there is one."""
        home = self.directory
        if self.workspace is not None:
            home = self.workspace.rpartition("/")[0]
        return home in self.vendored

    @property
    def sums(self) -> set[Sum]:
        """What all go.sum and go.work.sum of the commit name."""
        texts = (content for name, content in self.files.items() if name.endswith(".sum"))
        return {one for content in texts for one in parse_sums(content.decode(errors="replace"))}

    @property
    def needs_any(self) -> bool:
        """Whether a module is asked for at all."""
        gomod = (content for name, content in self.files.items() if name.endswith("go.mod"))
        return bool(self.sums) or any(re.search(rb"(?m)^\s*require\b", content) for content in gomod)

    @property
    def go(self) -> str:
        """The highest ``go`` line, such as 1.26 or 1.26.6; empty when there is none."""
        found = []
        for name, content in self.files.items():
            if name.endswith(("go.mod", "go.work")):
                found += re.findall(rb"(?m)^go\s+(\d+\.\d+(?:\.\d+)?)", content)
        return max((one.decode() for one in found), key=version_number, default="")


def version_number(text: str) -> tuple[int, ...]:
    """``1.26.6`` as numbers, to be compared; of ``1.27rc1`` the 1 and the 27."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[a-z]", text)[0]))


#: Of a failure's cause: other bytes than were sent; a file that is gone, or never was there.
_CHANGED = re.compile(r"\(checksum mismatch\)|archive of a module is damaged")
_GONE = re.compile(r"controller brought lack|module lookup disabled by GOPROXY=off")


@dataclass(frozen=True)
class Modules:
    """How one build gets its modules."""

    way: Way | None = None
    """None: not decided; go itself decides, and downloads."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of every go command."""

    @property
    def flags(self) -> list[str]:
        """Arguments of go. Said in any case, since they win over GOFLAGS: nothing adds to go.sum in a build."""
        if self.way is None:
            return []
        return ["-mod=vendor"] if self.way == "vendor" else ["-mod=readonly"]

    def damaged(self, failure: Failure) -> bool:
        """Whether files that the controller has sent may not, or no longer, be there as they were sent."""
        return self.way == "controller" and bool(_CHANGED.search(failure.cause) or _GONE.search(failure.cause))

    def explained(self, failure: Failure) -> Failure:
        """A failure of go with the remedy that fits this way."""
        if not self.damaged(failure):
            return failure
        if _GONE.search(failure.cause):
            remedy = (
                "run `go mod tidy` in the source and commit go.sum; if it names that module, remove the folder "
                "cache/modproxy on the builder and run again: all of it is sent anew"
            )
        else:
            remedy = (
                "the controller has verified what it sent, so the builder's copy was changed or damaged: remove the "
                "folders cache/modproxy and cache/gomodcache on the builder and run again; if it comes back, do not "
                "use that builder"
            )
        return replace(failure, remedy=remedy)


def choose(
    wanted: ModuleWay,
    files: ModuleFiles,
    private: PrivateModules,
    environments: Iterable[Mapping[str, str]],
    *,
    controller_can: bool,
) -> Way:
    """Which way this commit's modules go.

    ``auto``: vendor/ where there is one; nothing where nothing is needed; the builder's own proxy where data names one
    for it; else the controller brings them, since then the builder needs no network, no credential and no trust, and a
    later build works without any server; a controller without Go leaves it to the builder.

    Args:
        wanted: ``build.modules``.
        files: of the commit.
        private: ``build.private``.
        environments: of the service and of the builder.
        controller_can: the controller has a Go, or the pin of one.
    """
    if wanted != "auto":
        return "none" if wanted == "controller" and not files.needs_any else wanted
    if files.vendor:
        return "vendor"
    if not files.needs_any:
        return "none"
    if private.logins:
        return "controller"
    if any(environment.get("GOPROXY") or "-modfile" in environment.get("GOFLAGS", "") for environment in environments):
        return "download"  # another go.mod than the one read here, too
    return "controller" if controller_can or private.patterns else "download"


def escape(text: str) -> str:
    """A module path or version as file name: ``!`` before what was a capital letter (golang.org/x/mod/module)."""
    return re.sub(r"[A-Z]", lambda match: "!" + match.group(0).lower(), text)


def proxy_name(path: str, version: str, kind: Literal["info", "mod", "zip"]) -> str:
    """Where a file of a module is, below the root of a proxy."""
    return f"{escape(path)}/@v/{escape(version)}.{kind}"


def builder_environment(way: Way, private: PrivateModules, proxy_folder: str) -> dict[str, str]:
    """What go on the builder is told about modules, on top of everything else.

    ``controller``: only the folder of files is asked. GOPRIVATE must be empty, or go would go around that folder.
    GOSUMDB is off because nobody can be asked; every module is verified with go.sum, and one that go.sum does not name
    is refused (``-mod=readonly``).

    Args:
        way: what was decided.
        private: ``build.private``.
        proxy_folder: the builder's folder of files, as its own system writes it.
    """
    if way == "download":
        return private.variables()
    if way != "controller":
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
    """16 hex digits over names and bytes of the files that a builder has to have; the name of its receipt."""
    text = "".join(f"{name} {size}\n" for name, size in sorted(names))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
