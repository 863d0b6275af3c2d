"""The run's journal: opened with the first operation; what is learned later of targets that were lost comes last."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gofallback.controller import identity
from gofallback.journal import read
from gofallback.journal.writer import Journal, JournalError
from gofallback.runid import base_of, same_run

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from gofallback.deploys.run.context import RunContext
    from gofallback.deploys.run.state import Run
    from gofallback.report.rows import ScanRow

_OPEN = frozenset({"intended", "provisional"})
_CLOSED = frozenset({"confirmed", "reverted", "failed"})


def open_journal(ctx: RunContext) -> None:
    """Open the journal and write what this run is about; once, when its first operation is executed."""
    run = ctx.run
    path = run.home.journal(run.id)
    continued = path.is_file()
    previous = None if continued else read.last_head(run.home.root / "runs", before=base_of(run.id))
    run.journal = Journal(path, run.id, previous=previous, say=run.note)
    event = "started"
    if run.options.resume or run.options.abort:
        event = "resumed" if run.options.resume else "aborted"
    try:
        run.journal.write(event, **_run_plan(ctx))
    except JournalError as error:
        run.note(str(error))
        return
    for row in run.overrides:
        run.tell("override", **row)
    for row in run.approvals:
        # `at` is the line's own key
        run.tell("approval", **{"signed" if key == "at" else key: value for key, value in row.items()})
    for scan in run.scans:
        tell_scan(run, scan)


def tell_scan(run: Run, scan: ScanRow) -> None:
    """Write what is known to be vulnerable in one binary; nothing while the run has no journal yet."""
    run.tell("vulnerabilities", **scan.model_dump(mode="json", exclude_defaults=True))


def _run_plan(ctx: RunContext) -> dict[str, Any]:
    run = ctx.run
    options = {key: value for key, value in run.options.model_dump().items() if value not in (None, False, ())}
    return {
        "command": run.command,
        "who": run.who,
        "identity": run.identity.model_dump(mode="json") if run.identity else None,
        "why": run.options.reason or "",
        "environment": run.environment,
        "options": options,
        "builder": run.builder,
        "waves": [{"name": wave.name, "hosts": list(wave.hosts)} for wave in run.waves],
        "plan": [
            {
                "host": one.host,
                "service": one.service,
                "release": one.release,
                "previous": one.previous,
                "live": one.live,
                "state": one.state,
            }
            for one in run.outcomes.values()
        ],
    }


def identify(ctx: RunContext) -> None:
    """Learn who runs this, before anything is executed: it asks programs, and other hosts would go on meanwhile."""
    keys = {str(key) for host in ctx.state.inventory if (key := host.data.get("ssh_key"))}
    ctx.run.identity = identity.read_identity(sorted(keys), project=Path.cwd())


def journal_problem(ctx: RunContext) -> str | None:
    """Why the journal could not be kept; None: it can. Asked before anything is executed."""
    folder = ctx.run.home.journal(ctx.run.id).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{ctx.run.id}"
        probe.write_bytes(b"0" * 4096)
        probe.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        return (
            f"{error.filename or folder}: the run's journal cannot be kept there ({error.strerror}); nothing was "
            "changed; make room, or name another folder in GOFALLBACK_HOME"
        )
    return None


def record_late_outcomes(ctx: RunContext, host: Host) -> None:
    """What a target says of an earlier run that lost sight of it goes into that run's journal, as `seen`."""
    from gofallback.deploys.run.target_state import state_of

    for name, found in state_of(ctx, host).services.items():
        record = found.outcome or {}
        run_id, state = str(record.get("run_id", "")), str(record.get("state", ""))
        path = ctx.run.home.journal(run_id)
        if state not in _CLOSED or same_run(run_id, ctx.run.id) or not path.is_file():
            continue
        last = [
            entry.data.get("state", entry.event)
            for entry in read.entries(path.read_bytes())
            if (entry.host, entry.service) == (host.name, name) and entry.event in {*_OPEN, *_CLOSED, "seen"}
        ]
        if not last or last[-1] not in _OPEN:
            continue
        reason = str(record.get("reason") or "")
        try:
            Journal(path, run_id).write(
                "seen", host=host.name, service=name, state=state, reason=reason, live=found.current, by=ctx.run.id
            )
        except JournalError:
            continue  # that run is over; this one tells it
        line = f"{name} was lost by run {run_id}; it is {state} there" + (f": {reason}" if reason else "")
        ctx.run.note(f"{host.name}: {line}")
        host.log_styled(line, fg="yellow")
