"""The known-good comparison: the builder's rebuilds of the releases in production, against the targets' bytes now."""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

import gevent
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.artifact.compare import compare_files
from gofallback.connectors.local import TransferError
from gofallback.deploys.building import production
from gofallback.deploys.building.production import LiveBinary
from gofallback.deploys.run.comparisons import label, record_folder, record_row, save_comparison
from gofallback.deploys.run.context import Key, RunContext
from gofallback.disk import file_sha256
from gofallback.errors import GofallbackError
from gofallback.operations.remote import fetch_file
from gofallback.operations.target.channel import BrokenError, run

_EXPLANATION: Key[str] = Key("why two binaries differ")


@dataclass(frozen=True)
class _Side:
    """One side of a comparison, as read."""

    found: str = ""
    """Path of the builder's file on the controller, or SHA-256 of the target's file."""
    problem: str = ""


def compare(state: State, host: Host, ctx: RunContext) -> bool:
    """Step: check that this builder makes the same bytes as run in production; log every difference."""
    with tempfile.TemporaryDirectory(prefix="gofallback-") as folder:
        built = {spec.key: _fetch_built(ctx, host, spec.key, Path(folder)) for spec in production.specs(ctx)}
        lives = production.live_binaries(ctx)
        hashes = [gevent.spawn(_hash, ctx, live) for live in lives]
        gevent.joinall(hashes)
        problems = [
            _compare(ctx, host, live, built[live.spec.key], job.value) for live, job in zip(lives, hashes, strict=True)
        ]
    bad = list(dict.fromkeys(problem for problem in problems if problem))
    ctx.run.faithful, ctx.run.compared = not bad, len(lives)
    for problem in bad:
        host.log_styled(problem, fg="red")
    if bad:
        ctx.run.veto(f"{host.name} is not a faithful replacement: {bad[0]}")
        ctx.run.artifacts.clear()  # the report lists only what may be shipped
        return False
    count = len({live.host.name for live in lives})
    host.log(f"{host.name}: makes the bytes of {len(lives)} program(s) that run on {count} target(s)")
    if ctx.run.uncompared:
        host.log_styled(f"not compared: {'; '.join(ctx.run.uncompared)}", fg="yellow")
    return True


def _fetch_built(ctx: RunContext, host: Host, key: str, folder: Path) -> _Side:
    """Copy the builder's file to the controller: the hash that the builder reports does not count."""
    built = next((one for one in ctx.run.built_by(host.name) if one.spec.key == key), None)
    if built is None:
        return _Side(problem=f"{host.name} did not build it (see above)")
    local = folder / key[:16]
    try:
        fetch_file(host, built.path, local)
    except TransferError as error:
        return _Side(problem=str(error))
    return _Side(str(local))


def _hash(ctx: RunContext, live: LiveBinary) -> _Side:
    """SHA-256 of the bytes on the target now. Recorded hashes do not count."""
    command, sudo = f"sha256sum -- {shlex.quote(live.path)}", ctx.fleet(live.host).target.sudo
    try:
        code, lines = run(ctx.state, live.host, command, sudo=sudo, timeout=60)
    except BrokenError as error:
        return _Side(problem=f"its hash cannot be read: {error}")
    if code or not lines:
        return _Side(problem=f"its hash cannot be read: {(lines or ['no answer'])[-1]}")
    return _Side(lines[-1].split()[0])


def _compare(ctx: RunContext, host: Host, live: LiveBinary, built: _Side, running: _Side) -> str | None:
    """The problem in one line; None: the same bytes."""
    names, spec = (host.name, live.host.name), live.spec
    what = f"{label(spec)} {live.release}"
    if built.problem:
        return f"{what}: {built.problem}"
    if running.problem:
        return f"{what}: {live.host.name}: {running.problem}"
    local = Path(built.found)
    sha256 = (file_sha256(local), running.found)
    if sha256[0] == sha256[1]:
        record_row(ctx.run, spec, names, sha256)
        return None
    why = ctx.once(_EXPLANATION(*sha256), lambda: _explanation(ctx, host, live, local, running.found))
    if not any(row.sha256 == sha256 and row.names == names for row in ctx.run.comparisons):
        record_row(ctx.run, spec, names, sha256, [why])
    if sha256[0] == live.sha256:
        return (
            f"{what}: {live.host.name} was changed: {host.name} makes the bytes that its manifest says, and others lie "
            f"there: {why}"
        )
    return f"{what}: {host.name} makes other bytes than run on {live.host.name}: {why}"


def _explanation(ctx: RunContext, host: Host, live: LiveBinary, built: Path, running: str) -> str:
    """Why two binaries differ, in one line. The comparison and the target's binary go into the run's folder."""
    stem = f"{live.spec.binary}-{live.spec.goos}-{live.spec.goarch}-{running[:12]}"
    names, fetched = (host.name, live.host.name), record_folder(ctx.run) / f"{stem}.{live.host.name}"
    fetched.parent.mkdir(parents=True, exist_ok=True)
    try:
        fetch_file(live.host, live.path, fetched)
        found = compare_files(built, fetched, names)
        save_comparison(ctx.run, live.spec, found, stem)
        for line in found.lines():
            live.host.log_styled(f"{label(live.spec)}: {line}", fg="red")
        return found.brief() or "they are the same now: it changed meanwhile; run again"
    except (GofallbackError, OSError) as error:
        problem = str(error)
    record_row(ctx.run, live.spec, names, (file_sha256(built), running), [problem])
    return f"why is not known: {problem}"
