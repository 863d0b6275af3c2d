"""The run's journal: opened with the first operation. A later run adds the outcomes of targets that were lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gofallback.controller.identity import read_identity
from gofallback.journal import read
from gofallback.journal.events import ApprovalCounted, BinaryScanned, RuleOverridden, RunStarted
from gofallback.journal.writer import Journal, JournalError
from gofallback.rollout.phases import CLOSING_EVENTS, OPEN_EVENTS
from gofallback.runid import base_of, same_run

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from gofallback.deploys.run.context import RunContext
    from gofallback.deploys.run.state import Run
    from gofallback.release.state import TargetState
    from gofallback.report.rows import ScanRow


def open_journal(run: Run) -> None:
    """Open the journal and write the plan of the run; once, with its first operation."""
    path = run.home.journal(run.id)
    continued = path.is_file()
    previous = None if continued else read.last_head(run.home.runs, before=base_of(run.id))
    run.journal = Journal(path, run.id, previous=previous, log=run.note)
    run.emit(RunStarted(how=_how(run), plan=_run_plan(run)))
    for row in run.overrides:
        run.emit(RuleOverridden(row=row))
    for row in run.approvals:
        run.emit(ApprovalCounted(service=row["service"], row=row))
    for scan in run.scans:
        emit_scan(run, scan)


def _how(run: Run) -> Literal["started", "resumed", "aborted"]:
    if run.options.resume:
        return "resumed"
    return "aborted" if run.options.abort else "started"


def emit_scan(run: Run, scan: ScanRow) -> None:
    """Emit the known vulnerabilities of one binary. Scans made while planning are emitted when the journal opens."""
    if run.executed:
        run.emit(BinaryScanned(service=scan.service, scan=scan.model_dump(mode="json", exclude_defaults=True)))


def _run_plan(run: Run) -> dict[str, Any]:
    options = {
        key: value
        for key, value in run.options.model_dump().items()
        if value is not None and value is not False and value != ()
    }
    return {
        "command": run.command.name,
        "who": run.who,
        "identity": run.identity.model_dump(mode="json") if run.identity else None,
        "why": run.options.reason or "",
        "environment": run.environment,
        "options": options,
        "builder": run.builder,
        "waves": [{"name": wave.name, "hosts": list(wave.hosts)} for wave in run.waves],
        "plan": [
            {
                "host": outcome.host,
                "service": outcome.service,
                "release": outcome.release,
                "previous": outcome.previous,
                "live": outcome.live,
                "state": str(outcome.phase),
            }
            for outcome in run.outcomes.values()
        ],
    }


def identify(ctx: RunContext) -> None:
    """Read who runs this, while planning: it starts programs, and other hosts would work meanwhile."""
    keys = {str(key) for host in ctx.state.inventory if (key := host.data.get("ssh_key"))}
    ctx.run.identity = read_identity(sorted(keys), project=ctx.project)


def journal_problem(run: Run) -> str | None:
    """The reason the journal cannot be written, or None. Checked before anything is executed."""
    folder = run.home.journal(run.id).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{run.id}"
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


def record_late_outcomes(run: Run, host: Host, state: TargetState) -> None:
    """Add to the journal of an earlier run how a target ended that it had lost, as event `seen`.

    Args:
        run: this run.
        host: the target.
        state: what the target reports now.
    """
    for name, found in state.services.items():
        record = found.outcome or {}
        run_id, how = str(record.get("run_id", "")), str(record.get("state", ""))
        path = run.home.journal(run_id)
        if how not in CLOSING_EVENTS or same_run(run_id, run.id) or not _is_open(path, host.name, name):
            continue
        reason = str(record.get("reason") or "")
        try:
            Journal(path, run_id).write(
                "seen", host=host.name, service=name, state=how, reason=reason, live=found.current, by=run.id
            )
        except JournalError:
            continue  # that run is over; this one reports it
        line = f"{name} was lost by run {run_id}; it is {how} there" + (f": {reason}" if reason else "")
        run.note(f"{host.name}: {line}")
        host.log_styled(line, fg="yellow")


def _is_open(path: Path, host: str, service: str) -> bool:
    """Whether the last event of a target in a journal leaves its end open."""
    if not path.is_file():
        return False
    events = [
        str(entry.data.get("state", entry.event))
        for entry in read.entries(path.read_bytes())
        if (entry.host, entry.service) == (host, service) and entry.event in {*OPEN_EVENTS, *CLOSING_EVENTS, "seen"}
    ]
    return bool(events) and events[-1] in OPEN_EVENTS
