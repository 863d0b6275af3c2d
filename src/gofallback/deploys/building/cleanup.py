"""Wipes a builder, in deploys/wipe.py or after a run, and records listings of before and after as evidence."""

from __future__ import annotations

import hashlib

from pyinfra import logger
from pyinfra.api.host import Host

from gofallback.builder.wipe import OURS, Contents
from gofallback.deploys.run.context import RunContext
from gofallback.facts.builder import forget
from gofallback.journal.events import BuilderWiped
from gofallback.operations.remote import CONNECTION_ERRORS
from gofallback.operations.wipe import WipeResult, wipe
from gofallback.pyinfra_patches.disconnect import before_disconnect


def wipe_builder(ctx: RunContext, host: Host, *, allow_busy: bool = False) -> bool:
    """Wipe one builder, log the result and record the listings. False: something is left that should not be.

    Args:
        ctx: the run.
        host: the builder.
        allow_busy: a build of another run is no failure: that run wipes the builder, or deploys/wipe.py does.
    """
    settings = ctx.fleet(host).builder
    forget(host)
    done = wipe(ctx.state, host, settings.root, settings.wipe.keep)
    line = f"builder {host.name}: {done.line()}"
    ok = not done.problem or (done.busy and allow_busy)
    if not ok:
        ctx.run.set_first_cause(line)
    if done.problem:
        host.log_styled(line, fg="yellow" if ok else "red", log_func=logger.warning if ok else logger.error)
    else:
        host.log(line)
    ctx.run.note(line)
    _record_listings(ctx, host, done)
    return ok


def wipe_after_run(ctx: RunContext, host: Host) -> None:
    """Wipe a builder at the end of the run, however it ends, if its group data says so."""
    if ctx.fleet(host).builder.wipe.after != "run" or not ctx.run.command.needs_builder:
        return

    def wipe_if_used() -> None:
        try:
            if ctx.run.executed and host.connected:
                ctx.run.wiped[host.name] = wipe_builder(ctx, host, allow_busy=True)
        except CONNECTION_ERRORS as error:
            ctx.run.wiped[host.name] = False
            ctx.run.note(f"builder {host.name}: not wiped: {error}; run deploys/wipe.py")

    before_disconnect(host, wipe_if_used)


def _record_listings(ctx: RunContext, host: Host, done: WipeResult) -> None:
    """Write the listings into the run's folder, and their sums into the journal."""
    text = f"before, below {ctx.fleet(host).builder.root}:\n{_listing(done.before)}left:\n{_listing(done.after)}"
    path = ctx.run.home.run(ctx.run.id) / f"wiped-{host.name}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        ctx.run.note(f"{path}: the listing cannot be written ({error.strerror})")
    ctx.run.emit(
        BuilderWiped(
            host=host.name,
            problem=done.problem,
            listings={
                "root": ctx.fleet(host).builder.root,
                "before": _sums(done.before),
                "left": _sums(done.after),
                "stuck": list(done.stuck[:100]),
                "foreign": list(done.foreign[:100]),
                "listing": path.name,
                "listing_sha256": hashlib.sha256(text.encode(errors="replace")).hexdigest(),
            },
        )
    )


def _listing(found: Contents | None) -> str:
    if found is None:
        return "(not known)\n"
    return found.listing() or "(nothing)\n"


def _sums(found: Contents | None) -> dict[str, dict[str, int]]:
    """Number of files and bytes of each folder that is not empty."""
    if found is None:
        return {}
    counted = {name: found.count(name) for name in OURS}
    return {name: {"files": files, "bytes": size} for name, (files, size) in counted.items() if files}
