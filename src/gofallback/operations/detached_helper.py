"""The keeper on a builder: compiled there, and requested to list or cancel jobs.

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
from gofallback.connectors.local import TransferError
from gofallback.connectors.output import RemoteOutput
from gofallback.errors import GofallbackError
from gofallback.gobuild import agent_source
from gofallback.gobuild.detached import KEEPER, MISSING, DetachedJob, ListedJob, keeper_name, read_list
from gofallback.operations.agent import pack
from gofallback.operations.remote import run_command, send_content

_COMPILE_TIMEOUT = 300.0
_OURS = frozenset(
    [
        *("GOROOT", "GOTOOLCHAIN", "GOENV", "GOTELEMETRY", "GOCACHE", "GOMODCACHE", "GOTMPDIR", "GOPATH"),
        *("PATH", "TEMP", "TMP", "TMPDIR", "LC_ALL"),
    ]
)
"""Of `gofallback.gobuild.environment.go_environment`."""
_LIST_TIMEOUT = 40.0
"""Seconds; a job that does not listen is ended by force after 10 of them (src/gofallback/keeper/cancel.go)."""


class KeeperError(GofallbackError):
    """The keeper cannot be compiled, or did not do what was requested; one line."""


def keeper_program(root: str) -> str:
    """Path of the keeper on a builder."""
    folder = join(Layout(root).tools, keeper_name(agent_source.agent_digest(agent_source.keeper_files())))
    return join(folder, "keeper.exe" if os_of(root) == "windows" else "keeper")


def keeper_line(root: str, arguments: list[str]) -> str:
    """The command line of the keeper with its arguments; exit code `MISSING` when it is not there."""
    shell, program = shell_of(root), keeper_program(root)
    return shell.script([shell.unless_there(program, f"exit {MISSING}"), shell.command([program, *arguments])])


def end_reason(output: RemoteOutput, default: str) -> str:
    """Why the keeper, or the connection to it, ended: the reason of the connector, or the last line of stderr."""
    lines = [line.strip() for line in output.stderr_lines if line.strip()]
    return output.reason or (lines[-1].removeprefix(f"{KEEPER}: ") if lines else default)


def compile_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables under which the keeper is compiled: gofallback's own, and those that are not to be set.

    This command's variables stand in a command line there, where others may read them. Group data's
    (``builder.environment``, such as a proxy) are left out: nothing is downloaded.
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


def install(state: State, host: Host, job: DetachedJob, environment: Mapping[str, str], scratch: Path) -> None:
    """Send the keeper's sources and let the builder's Go compile them, beside; one rename puts the program in place.

    Args:
        state: pyinfra's.
        host: the builder.
        job: has its root and its Go.
        environment: of a go command there.
        scratch: folder on the controller for the archive, which is removed afterwards.

    Raises:
        KeeperError: it is not there.
        LostConnectionError: the connection broke on the way; the keeper may be there.
    """
    sources, shell = agent_source.keeper_files(), shell_of(job.root)
    temporary = join(Layout(job.root).tmp, f"{keeper_name(agent_source.agent_digest(sources))}-{secrets.token_hex(4)}")
    host.log(f"{KEEPER}: compiling it, once for this builder: builds will outlive their connection")
    try:
        send_content(state, host, pack(sources), scratch / f"{KEEPER}-{secrets.token_hex(4)}.tar", f"{temporary}.tar")
    except TransferError as error:
        if run_command(state, host, shell.echo("@up")).lost:
            raise LostConnectionError(str(error)) from None
        raise KeeperError(f"{KEEPER}: {error}") from None
    line, variables = shell.prepared(_compile_line(job, temporary), compile_environment(environment))
    result = run_command(state, host, line, timeout=_COMPILE_TIMEOUT, env=variables)
    if result.has("@done"):
        return
    if result.lost:
        raise LostConnectionError(result.last())
    raise KeeperError(f"{KEEPER} cannot be compiled there: {result.last()}")


def _compile_line(job: DetachedJob, temporary: str) -> str:
    shell, program = shell_of(job.root), keeper_program(job.root)
    final, file = parent(program), name(program)
    flags = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="]
    steps = [
        shell.make(temporary),
        shell.or_exit(shell.unpack(f"{temporary}.tar", temporary), "tar"),
        shell.delete(f"{temporary}.tar"),
        shell.enter(temporary),
        shell.or_exit(shell.command([job.go, "build", *flags, "-o", file, "."]), "go build"),
        shell.enter(job.root),  # no folder in use can be renamed on Windows
        shell.unless_there(program, shell.put_in_place(temporary, final, [file])),
        shell.remove(temporary),
        shell.if_there(program, shell.echo("@done")),
    ]
    return shell.script(steps)


def list_jobs(state: State, host: Host, root: str) -> list[ListedJob]:
    """The jobs that a builder knows; a builder without the keeper has none.

    Raises:
        KeeperError: no answer.
    """
    return _list(state, host, root, "list")


def cancel(state: State, host: Host, root: str, job: str) -> list[ListedJob]:
    """End a job, or ``all``, with all of its processes; the jobs that were ended.

    Raises:
        KeeperError: no answer, or a job would not end.
    """
    return _list(state, host, root, "cancel", job)


def _list(state: State, host: Host, root: str, command: str, *more: str) -> list[ListedJob]:
    program = keeper_program(root)
    shell, jobs = shell_of(root), Layout(root).jobs
    line = shell.script([shell.unless_there(program, "exit 0"), shell.command([program, command, jobs, *more])])
    result = run_command(state, host, line, timeout=_LIST_TIMEOUT)
    if not result.ok:
        raise KeeperError(result.first())
    return read_list(result.out)
