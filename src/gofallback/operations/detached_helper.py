"""The helper that keeps builds, on a builder: compiled there, asked what runs, and told to end it.

Its sources are in ``src/gofallback/keeper``; see docs/detached-builds.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.builder.paths import Layout, join, name, os_of, parent
from gofallback.builder.shell import shell_of
from gofallback.connectors.connection import LostConnectionError
from gofallback.connectors.output import RemoteOutput
from gofallback.gobuild import agent_source
from gofallback.gobuild.detached import KEEPER, MISSING, DetachedJob, ListedJob, keeper_name, read_list
from gofallback.operations.agent import send_sources
from gofallback.operations.remote import run_command

_COMPILE_TIMEOUT = 300.0
_OURS = frozenset(
    [
        *("GOROOT", "GOTOOLCHAIN", "GOENV", "GOTELEMETRY", "GOCACHE", "GOMODCACHE", "GOTMPDIR", "GOPATH"),
        *("PATH", "TEMP", "TMP", "TMPDIR", "LC_ALL"),
    ]
)
"""Of `gofallback.build.environment.go_environment`."""
_LIST_TIMEOUT = 40.0
"""Seconds; a job that does not listen is ended by force after 10 of them (src/gofallback/keeper/cancel.go)."""


def keeper_program(root: str) -> str:
    """Path of the helper on a builder."""
    folder = join(Layout(root).tools, keeper_name(agent_source.agent_digest(agent_source.keeper_files())))
    return join(folder, "keeper.exe" if os_of(root) == "windows" else "keeper")


def guarded(root: str, words: list[str]) -> str:
    """The command line of the helper with its words; status `MISSING` when it is not there."""
    shell, program = shell_of(root), keeper_program(root)
    return shell.script([shell.unless_there(program, f"exit {MISSING}"), shell.command([program, *words])])


def last_words(output: RemoteOutput, default: str) -> str:
    """Why the helper, or the connection to it, ended: the last line of its standard error."""
    lines = [line.strip() for line in output.stderr_lines if line.strip()]
    return lines[-1].removeprefix(f"{KEEPER}: ") if lines else default


def compiling(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables under which the helper is compiled: our own ones, and what is not to be set.

    This command's variables stand in a command line there, where others may read them: what data says of a proxy
    (``builder.environment``) is nobody's business, and nothing is downloaded.
    """
    ours = {name: value for name, value in environment.items() if not value or name in _OURS}
    return {
        **ours,
        "GOOS": "",
        "GOARCH": "",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOWORK": "off",
    }


def install(state: State, host: Host, kept: DetachedJob, environment: Mapping[str, str], scratch: Path) -> str | None:
    """Bring the helper's sources and let the builder's Go compile them, beside; one rename puts the program in place.

    Args:
        state: pyinfra's.
        host: the builder.
        kept: says where its root and its Go are.
        environment: of a go command there.
        scratch: folder on the controller for the archive; it is removed again.

    Returns:
        One line that says why it is not there; None when it is.

    Raises:
        LostConnectionError: the connection broke on the way; the helper may be there.
    """
    sources, shell = agent_source.keeper_files(), shell_of(kept.root)
    program = keeper_program(kept.root)
    final, file = parent(program), name(program)
    temporary = join(Layout(kept.root).tmp, f"{keeper_name(agent_source.agent_digest(sources))}-{secrets.token_hex(4)}")
    local = scratch / f"{KEEPER}-{secrets.token_hex(4)}.tar"
    host.log(f"{KEEPER}: compiling it, once for this builder: builds will outlive their connection")
    trouble = send_sources(state, host, sources, local, f"{temporary}.tar")
    if trouble:
        if run_command(state, host, shell.say("@up")).lost:
            raise LostConnectionError(trouble)
        return f"{KEEPER}: {trouble}"
    flags = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="]
    line = shell.script(
        [
            shell.make(temporary),
            shell.or_end(shell.unpack(f"{temporary}.tar", temporary), "tar"),
            shell.delete(f"{temporary}.tar"),
            shell.enter(temporary),
            shell.or_end(shell.command([kept.go, "build", *flags, "-o", file, "."]), "go build"),
            shell.enter(kept.root),  # no folder in use can be renamed on Windows
            shell.unless_there(program, shell.settle(temporary, final, [file])),
            shell.remove(temporary),
            shell.if_there(program, shell.say("@done")),
        ]
    )
    line, variables = shell.prepared(line, compiling(environment))
    answer = run_command(state, host, line, timeout=_COMPILE_TIMEOUT, env=variables)
    if "@done" in (one.strip() for one in answer.out):
        return None
    if answer.lost:
        raise LostConnectionError(answer.last())
    return f"{KEEPER} cannot be compiled there: {answer.last()}"


def list_jobs(state: State, host: Host, root: str) -> list[ListedJob] | str:
    """The jobs that a builder knows; one line when it cannot be asked. A builder without the helper has none."""
    return _listed(state, host, root, ["list"])


def cancel(state: State, host: Host, root: str, job: str) -> list[ListedJob] | str:
    """End a job, or ``all``, with every process of theirs.

    Returns:
        Those that were ended; one line when the builder cannot be asked, or when one would not end.
    """
    return _listed(state, host, root, ["cancel"], job)


def _listed(state: State, host: Host, root: str, words: list[str], *more: str) -> list[ListedJob] | str:
    program = keeper_program(root)
    shell, jobs = shell_of(root), Layout(root).jobs
    line = shell.script([shell.unless_there(program, "exit 0"), shell.command([program, *words, jobs, *more])])
    answer = run_command(state, host, line, timeout=_LIST_TIMEOUT)
    if not answer.ok:
        return answer.first()
    return read_list(answer.out)
