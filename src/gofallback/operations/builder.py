"""Operations on builders of either kind: is it fit to build, and its folders."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from gofallback.builder.messages import MAKE_ROOM
from gofallback.builder.paths import Layout
from gofallback.builder.shell import shell_of
from gofallback.builder.state import BuilderState
from gofallback.facts.builder import builder_state, forget
from gofallback.operations.remote import fail, run_command

Steps = Generator[FunctionCommand, None, None]


@operation()
def layout(root: str) -> Steps:
    """
    Make sure a builder has all its folders; costs no round trip when it has.

    + root: the builder's root folder
    """
    known = builder_state(host, root)
    wanted = Layout(root).folders()
    missing = [path for path in wanted if path[len(root) + 1 :].lower() not in known.folders]
    if not missing:
        host.noop(f"all folders are below {root}")
        return
    yield FunctionCommand(make_folders, (missing,), {})


@operation()
def ready(root: str, minimum_free_mb: int, tools: Sequence[Sequence[str]]) -> Steps:
    """
    Refuse a builder that cannot build; costs no round trip.

    + root: the builder's root folder
    + minimum_free_mb: free space that its drive must have, in MB
    + tools: groups of programs; provisioning needs one of each group
    """
    known = builder_state(host, root)
    problems = []
    missing = sorted({" or ".join(group) for group in tools if not known.tools & set(group)})
    if missing:
        problems.append(_missing_tools(missing, known))
    if known.free_bytes is not None and known.free_bytes < minimum_free_mb * 1_000_000:
        free = known.free_bytes // 1_000_000
        problems.append(f"{root}: {free} MB free, builder.minimum_free_mb is {minimum_free_mb}; {MAKE_ROOM}")
    if not problems:
        host.noop(f"{system(known)}, {(known.free_bytes or 0) // 1_000_000} MB free")
        return
    yield FunctionCommand(refuse, (problems,), {})


def system(known: BuilderState) -> str:
    """System and version of the builder, for a line."""
    return f"Windows {known.version}" if known.os == "windows" else f"{known.version or 'Linux'}, {known.arch}"


def _missing_tools(missing: list[str], known: BuilderState) -> str:
    if known.os == "windows":
        return f"{', '.join(missing)} missing in System32: Windows 10 1803, Server 2019 or later is needed"
    return f"{', '.join(missing)} missing in the login's PATH; install it there (docs/linux-builder.md)"


def refuse(state: State, host: Host, problems: list[str]) -> bool:
    """Step: log why this host is not used."""
    for problem in problems:
        fail(host, problem)
    # The next attempt of this process must read the state again.
    forget(host)
    return False


def make_folders(state: State, host: Host, paths: list[str]) -> bool:
    """Step: make folders, and check that they are there."""
    forget(host)
    shell = shell_of(paths[0])
    steps = [*(shell.make(path) for path in paths), shell.check_folders(paths)]
    result = run_command(state, host, shell.script(steps, always=True))
    missing = [paths[int(line.split()[1])] for line in result.out if line.startswith("@missing ")]
    if not result.ok or missing:
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        reason = next((line.strip() for line in result.err if line.strip()), "it gave no reason")
        what = f"{(missing or paths)[0]}{others}"
        return fail(host, f"{what} cannot be made: {reason}; the login needs write permission above it")
    return True
