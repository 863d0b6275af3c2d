"""go, run on the controller for the modules of one commit: with whose login, in which environment, and what it said."""

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

#: Of ``build.environment``, what go on the controller is told too.
_SHARED = frozenset(
    {"GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE", "GOPROXY", "GOSUMDB", "GOVCS", "GOAUTH", "GOWORK"}
)
_BROKEN = re.compile(
    r"error: (?:invalid object|bad tree|cannot read)|fatal: (?:bad object|loose object|unable to read|not a tree)"
    r"|object file \S+ is empty|packfile \S+ .*corrupt|missing blob object"
)
_NO_PROTOCOL = re.compile(r"(?P<repository>[\w-]+(?:\.[\w-]+)+/\S*?\.git)\S*?@v\S+: no secure protocol found for \w+")
_NEARLY_FULL = 32 << 20
"""Bytes; with less than this free, a failure is explained with the disk: git says many things about a full one."""


class ModuleError(GofallbackError):
    """The modules cannot be had; one line with cause and remedy."""


@dataclass(frozen=True)
class ModuleRequest:
    """Whose modules, and how they may be got."""

    label: str
    """Service and version, for lines."""
    files: ModuleFiles
    folder: Path
    """``$GOFALLBACK_HOME/modules``."""
    go: Callable[[], go_command.Go]
    """Called when go is needed after all."""
    private: PrivateModules = field(default_factory=PrivateModules)
    environment: Mapping[str, str] = field(default_factory=dict)
    """``build.environment``."""
    offline: bool = False
    """No server may be asked."""
    timeout: float = 1800
    """Seconds."""

    @property
    def record(self) -> Path:
        """Where it is written down what these module files need."""
        settings = self.environment.get("GOWORK", "")
        return self.folder / "sets" / f"{hashlib.sha256(f'{self.files.digest} {settings}'.encode()).hexdigest()}.json"

    @property
    def downloads(self) -> Path:
        """Go's download cache: the layout of a module proxy."""
        return self.folder / "cache" / "cache" / "download"


def objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that go prints one after the other; what is cut off is left out."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            found, at = decoder.raw_decode(text, at)
        except ValueError:
            return
        yield found


def go(
    wanted: ModuleRequest, program: go_command.Go, export: Path, arguments: list[str], say: Callable[[str], None]
) -> str:
    """Run go in the module files of the commit; its standard output.

    Args:
        wanted: whose modules.
        program: which go.
        export: folder that holds the module files.
        arguments: of go.
        say: hears about progress.

    Raises:
        ModuleError: it failed; cause and remedy.
    """
    done = _run(wanted, program, export, arguments, say)
    if done.code and not done.timed_out and _BROKEN.search(done.text):
        # A full disk or a pulled plug leaves git's own copies of the repositories broken; modules are not in there.
        say(f"{wanted.label}: the controller's copy of a module's repository is damaged: fetching it again")
        shutil.rmtree(wanted.folder / "cache" / "cache" / "vcs", ignore_errors=True)
        done = _run(wanted, program, export, arguments, say)
    if done.code == 0 and not done.timed_out:
        return done.out
    text = "\n".join([done.err, *(str(one.get("Error") or "") for one in objects(done.out))])
    failure = classify(
        text.replace(str(export), "<commit>"),
        home=str(wanted.folder.parent),
        logins=", ".join(f"build.private.logins {login.host}" for login in wanted.private.logins),
        timed_out=wanted.timeout if done.timed_out else None,
        full=shutil.disk_usage(wanted.folder).free < _NEARLY_FULL,
    )
    raise ModuleError(redact(f"{wanted.label}: modules: {failure.cause}; {failure.remedy}"))


def _run(
    wanted: ModuleRequest, program: go_command.Go, export: Path, arguments: list[str], say: Callable[[str], None]
) -> go_command.Said:
    own = environment(wanted, export)
    with handles(wanted.private.logins, own) as given:
        run = partial(go_command.run, environment=own | dict(given.environment), descriptors=given.descriptors)
        done = run(
            [str(program.program), *arguments],
            directory=export / wanted.files.directory,
            timeout=wanted.timeout,
            progress=lambda seconds: say(f"{wanted.label}: go {' '.join(arguments[:2])}: {seconds:.0f} s so far"),
        )
        hidden = _NO_PROTOCOL.search(done.text)
        if hidden is None:
            return done
        # go tried https and ssh, and keeps to itself what git said.
        asked = ["git", "ls-remote", "-q", f"https://{hidden['repository']}"]
        told = run(asked, directory=export, timeout=60)
    return go_command.Said(done.code, "", f"{hidden['repository']}: {told.err or hidden.group(0)}", done.timed_out)


def environment(wanted: ModuleRequest, export: Path) -> dict[str, str]:
    """What go on the controller sees: the user's own environment, data, and what keeps go.sum the last word.

    Args:
        wanted: whose modules.
        export: folder that holds the module files.
    """
    git_command.withhold(wanted.private.secret_variables)
    shared = {name: value for name, value in wanted.environment.items() if name in _SHARED}
    workspace = wanted.files.workspace
    # What GONOPROXY (by default GOPRIVATE) names goes around GOPROXY=off.
    offline = {"GOPROXY": "off", "GONOPROXY": "none", "GOVCS": "*:off"} if wanted.offline else {}
    return (
        git_command.environment()
        | {name: os.environ[name] for name in ("GIT_CONFIG_COUNT",) if name in os.environ}  # settings of the user
        # Found or not, it is said: a go.work above the controller's folder is none of this commit's.
        | {"GOWORK": str(export / workspace) if workspace else "off"}
        | shared
        | wanted.private.variables()
        | offline
        | {
            "GOMODCACHE": str(wanted.folder / "cache"),
            "GOFLAGS": "-modcacherw",
            "GOTOOLCHAIN": "local",
            "GO111MODULE": "on",
            "GOTELEMETRY": "off",
        }
    )
