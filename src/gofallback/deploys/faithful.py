"""Is the standby builder a faithful replacement? What runs in production is built again and compared with its bytes on
the targets, as they are now. Nothing is changed there."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Generator
from pathlib import Path

import gevent
from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from gofallback.artifact.compare import compare_files
from gofallback.controller.store import file_sha256
from gofallback.deploys.building import plan, production
from gofallback.deploys.building.comparison import fetch_file, label, record_folder, record_row, save_comparison
from gofallback.deploys.building.production import LiveBinary
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage
from gofallback.errors import GofallbackError
from gofallback.operations.target.channel import BrokenError, run


@stage("verify", "builders")
def faithful(ctx: RunContext, host: Host) -> None:
    """Compare what the builder made of the releases in production with what runs there."""
    if host is ctx.builder and production.comparison_requested(ctx):
        comparison(name="known good", ctx=ctx)


@operation()
def comparison(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """The builder's builds of what runs in production, compared with the targets' bytes.

    + ctx: the run and its hosts
    """
    yield FunctionCommand(compare, (ctx,), {})


def compare(state: State, host: Host, ctx: RunContext) -> bool:
    """Step: every binary that runs in production is what this builder makes of its commit; else in words why not."""
    with tempfile.TemporaryDirectory(prefix="gofallback-") as folder:
        built = {spec.key: _fetched(ctx, host, spec.key, Path(folder)) for spec in production.specs(ctx)}
        lives = production.live_binaries(ctx)
        hashes = [gevent.spawn(_hash, ctx, one) for one in lives]
        gevent.joinall(hashes)
        problems = [
            _compare(ctx, host, one, built[one.spec.key], job.value) for one, job in zip(lives, hashes, strict=True)
        ]
    bad = list(dict.fromkeys(problem for problem in problems if problem))
    ctx.run.faithful, ctx.run.compared = not bad, len(lives)
    for problem in bad:
        host.log_styled(problem, fg="red")
    if bad:
        ctx.run.cause = ctx.run.cause or f"{host.name} is not a faithful replacement: {bad[0]}"
        ctx.run.artifacts.clear()  # no target may be given one
        return False
    count = len({one.host.name for one in lives})
    host.log(f"{host.name}: makes the bytes of {len(lives)} program(s) that run on {count} target(s)")
    if ctx.run.uncompared:
        host.log_styled(f"not compared: {'; '.join(ctx.run.uncompared)}", fg="yellow")
    return True


def _fetched(ctx: RunContext, host: Host, key: str, folder: Path) -> Path | str:
    """What the builder built, on the controller; or why not. Its own word about the bytes does not count."""
    built = next((one for one in plan.built_by(ctx, host.name) if one.spec.key == key), None)
    if built is None:
        return f"{host.name} did not build it (see above)"
    local = folder / key[:16]
    return fetch_file(host, built.path, local) or local


def _hash(ctx: RunContext, live: LiveBinary) -> str:
    """SHA-256 of the bytes that are on the target now; else a sentence. Nothing that was written down counts."""
    try:
        code, lines = run(
            ctx.state,
            live.host,
            f"sha256sum -- {shlex.quote(live.path)}",
            sudo=ctx.fleet(live.host).target.sudo,
            timeout=60,
        )
    except BrokenError as error:
        return f"it did not tell: {error}"
    return lines[-1].split()[0] if code == 0 and lines else f"it did not tell: {(lines or ['no answer'])[-1]}"


def _compare(ctx: RunContext, host: Host, live: LiveBinary, built: Path | str, there: str) -> str | None:
    """The problem in one line; None: the same bytes."""
    names, spec = (host.name, live.host.name), live.spec
    what = f"{label(spec)} {live.release}"
    if isinstance(built, str):
        return f"{what}: {built}"
    if " " in there:
        return f"{what}: {live.host.name}: {there}"
    mine = file_sha256(built)
    if mine == there:
        record_row(ctx, spec, names, (mine, there))
        return None
    known: dict[tuple[str, str], str] = ctx.memo.setdefault("explained", {})
    if (mine, there) not in known:
        known[mine, there] = _why(ctx, host, live, built, there)
    elif not any(row.sha256 == (mine, there) and row.names == names for row in ctx.run.comparisons):
        record_row(ctx, spec, names, (mine, there), [known[mine, there]])
    if mine == live.sha256:
        return (
            f"{what}: {live.host.name} was changed: {host.name} makes the bytes that its manifest says, and others lie "
            f"there: {known[mine, there]}"
        )
    return f"{what}: {host.name} makes other bytes than run on {live.host.name}: {known[mine, there]}"


def _why(ctx: RunContext, host: Host, live: LiveBinary, built: Path, there: str) -> str:
    """In words, and as JSON in the run's folder, with the target's binary beside it."""
    stem = f"{live.spec.binary}-{live.spec.goos}-{live.spec.goarch}-{there[:12]}"
    names, fetched = (host.name, live.host.name), record_folder(ctx) / f"{stem}.{live.host.name}"
    fetched.parent.mkdir(parents=True, exist_ok=True)
    problem = _copy(live, fetched)
    try:
        if problem is None:
            found = compare_files(built, fetched, names)
            save_comparison(ctx, live.spec, found, stem)
            for line in found.lines():
                live.host.log_styled(f"{label(live.spec)}: {line}", fg="red")
            return found.brief() or "they are the same now: it changed meanwhile; run again"
    except (GofallbackError, OSError) as error:
        problem = str(error)
    record_row(ctx, live.spec, names, (file_sha256(built), there), [problem])
    return f"why is not known: {problem}"


def _copy(live: LiveBinary, local: Path) -> str | None:
    with ctx_host.use(live.host):
        return fetch_file(live.host, live.path, local)
