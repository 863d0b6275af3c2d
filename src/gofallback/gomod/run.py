"""go, run on the controller for the modules of one commit: its login, its environment, and its errors explained."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gofallback.errors import GofallbackError
from gofallback.git import git_command
from gofallback.gobuild.module_failure import classify
from gofallback.gobuild.modules import ModuleFiles
from gofallback.gomod import go_command
from gofallback.gomod.credentials import handles
from gofallback.model.modules import PrivateModules
from gofallback.redact import redact

#: Variables of ``build.environment`` that count for go on the controller too.
_SHARED = frozenset(
    {"GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE", "GOPROXY", "GOSUMDB", "GOVCS", "GOAUTH", "GOWORK"}
)
_BROKEN = re.compile(
    r"error: (?:invalid object|bad tree|cannot read)|fatal: (?:bad object|loose object|unable to read|not a tree)"
    r"|object file \S+ is empty|packfile \S+ .*corrupt|missing blob object"
)
_NO_PROTOCOL = re.compile(r"(?P<repository>[\w-]+(?:\.[\w-]+)+/\S*?\.git)\S*?@v\S+: no secure protocol found for \w+")
_NEARLY_FULL = 32 << 20
"""Bytes; with less than this free, a failure is explained with the disk: git's messages about a full disk vary."""


class ModuleError(GofallbackError):
    """The modules cannot be downloaded; one line with cause and remedy."""


@dataclass(frozen=True)
class ModuleRequest:
    """The commit whose modules are needed, and how they may be downloaded."""

    label: str
    """Service and version, for lines."""
    files: ModuleFiles
    folder: Path
    """``$GOFALLBACK_HOME/modules``."""
    find_go: Callable[[], go_command.Go]
    """Called only when go is needed."""
    private: PrivateModules = field(default_factory=PrivateModules)
    environment: Mapping[str, str] = field(default_factory=dict)
    """``build.environment``."""
    offline: bool = False
    """No server may be contacted."""
    timeout: float = 1800
    """Seconds."""

    @property
    def record(self) -> Path:
        """File that lists what these module files need."""
        settings = self.environment.get("GOWORK", "")
        return self.folder / "sets" / f"{hashlib.sha256(f'{self.files.digest} {settings}'.encode()).hexdigest()}.json"

    @property
    def downloads(self) -> Path:
        """Go's download cache: the layout of a module proxy."""
        return self.folder / "cache" / "cache" / "download"


def objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that go prints one after the other; an incomplete one at the end is left out."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError:
            return
        yield value


@dataclass(frozen=True)
class GoRun:
    """Runs go in the exported module files of a commit."""

    request: ModuleRequest
    go: go_command.Go
    export: Path
    """Folder that holds the module files."""
    report: Callable[[str], None]
    """Called with lines of progress."""

    def run(self, *arguments: str) -> str:
        """Standard output of one go command.

        Raises:
            ModuleError: it failed; cause and remedy.
        """
        request = self.request
        result = self._run(arguments)
        if result.code and not result.timed_out and _BROKEN.search(result.text):
            # A full disk or a power cut breaks go's copies of the repositories, which hold no modules.
            self.report(
                f"{request.label}: the controller's copy of a module's repository is damaged: fetching it again"
            )
            shutil.rmtree(request.folder / "cache" / "cache" / "vcs", ignore_errors=True)
            result = self._run(arguments)
        if result.code == 0 and not result.timed_out:
            return result.out
        text = "\n".join([result.err, *(str(module.get("Error") or "") for module in objects(result.out))])
        failure = classify(
            text.replace(str(self.export), "<commit>"),
            home=str(request.folder.parent),
            logins=", ".join(f"build.private.logins {login.host}" for login in request.private.logins),
            timed_out=request.timeout if result.timed_out else None,
            full=shutil.disk_usage(request.folder).free < _NEARLY_FULL,
        )
        raise ModuleError(redact(f"{request.label}: modules: {failure.cause}; {failure.remedy}"))

    def _run(self, arguments: tuple[str, ...]) -> go_command.GoResult:
        request, own = self.request, environment(self.request, self.export)
        what = f"{request.label}: go {' '.join(arguments[:2])}"
        with handles(request.private.logins, own) as access:
            run = partial(go_command.run, environment=own | dict(access.environment), descriptors=access.descriptors)
            result = run(
                [str(self.go.program), *arguments],
                directory=self.export / request.files.directory,
                timeout=request.timeout,
                progress=lambda seconds: self.report(f"{what}: {seconds:.0f} s so far"),
            )
            hidden = _NO_PROTOCOL.search(result.text)
            if hidden is None:
                return result
            # go tried https and ssh, and does not print git's errors.
            command = ["git", "ls-remote", "-q", f"https://{hidden['repository']}"]
            reason = run(command, directory=self.export, timeout=60).err or hidden.group()
        return go_command.GoResult(result.code, "", f"{hidden['repository']}: {reason}", result.timed_out)


def environment(request: ModuleRequest, export: Path) -> dict[str, str]:
    """The environment of go: the user's own, group data, and settings that make go.sum decide.

    Args:
        request: of the commit.
        export: folder that holds the module files.
    """
    git_command.withhold(request.private.secret_variables)
    shared = {name: value for name, value in request.environment.items() if name in _SHARED}
    workspace = request.files.workspace
    # Modules of GONOPROXY (by default GOPRIVATE) bypass GOPROXY=off.
    offline = {"GOPROXY": "off", "GONOPROXY": "none", "GOVCS": "*:off"} if request.offline else {}
    return (
        git_command.environment()
        | {name: os.environ[name] for name in ("GIT_CONFIG_COUNT",) if name in os.environ}  # settings of the user
        # Always set: a go.work above the controller's folder does not belong to this commit.
        | {"GOWORK": str(export / workspace) if workspace else "off"}
        | shared
        | request.private.variables()
        | offline
        | {
            "GOMODCACHE": str(request.folder / "cache"),
            "GOFLAGS": "-modcacherw",
            "GOTOOLCHAIN": "local",
            "GO111MODULE": "on",
            "GOTELEMETRY": "off",
        }
    )
