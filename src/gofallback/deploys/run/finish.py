"""The end of a run: the table, the drawn timeline, and the records. Also when pyinfra ends half way."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pyinfra

from gofallback.deploys.run.outcome import TargetOutcome
from gofallback.deploys.run.report import PyinfraFacts, to_report
from gofallback.deploys.run.state import Run
from gofallback.journal.events import RunEnded
from gofallback.operations.detached import end_running, stop_following
from gofallback.pyinfra_patches.flags import cli_parameters
from gofallback.pyinfra_patches.signals import end_on_signals, ignore_signals
from gofallback.report import html, markdown, screen, table
from gofallback.report.model import Report
from gofallback.report.rows import JournalRow
from gofallback.rollout.phases import FAILED_HERE, OPEN, TargetPhase

if TYPE_CHECKING:
    from gofallback.deploys.run.context import RunContext


def install_exit_handlers(ctx: RunContext, *, json_mode: bool) -> None:
    """Record and report the end of the run, however it ends, and set the exit status.

    Args:
        ctx: the run.
        json_mode: standard output is for pyinfra's JSON.
    """
    code = 0

    def stopped(number: signal.Signals) -> None:
        nonlocal code
        code = 128 + number
        ctx.run.stopped = ctx.run.stopped or number.name
        stop_following()

    def end() -> None:
        ignore_signals()
        try:
            if code:
                _end_running_builds(ctx.run, hung_up=code == 128 + signal.SIGHUP)
            report = finish(ctx, json_mode)
        except Exception:
            # A defect of ours: Python would print it and exit 0 (atexit), as if the run had succeeded.
            traceback.print_exc()
            os._exit(code or 1)
        if pyinfra.is_cli and (code or (report is not None and report.exit_status)):
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            # pyinfra's own exit status knows failed hosts, and not how they ended
            os._exit(code or (report.exit_status if report else 0))

    atexit.register(end)
    end_on_signals(ctx.state, stopped)


def _end_running_builds(run: Run, *, hung_up: bool) -> None:
    """End the builds that this run started, which would go on without it. A lost terminal (SIGHUP) ends none."""

    def report(line: str, bad: bool) -> None:
        run.note(line)
        with contextlib.suppress(OSError):
            click.secho(line, fg="red" if bad else "yellow", err=True)

    end_running(report, keep=hung_up or run.options.leave_builds)


def finish(ctx: RunContext, json_mode: bool) -> Report | None:
    """Write the run's records and print its table; None when there is nothing to report."""
    run = ctx.run
    planned_only = not run.executed and (run.refused is None or bool(cli_parameters().get("dry")))
    if run.command.read_only or planned_only:
        return None
    close_outcomes(run, failed={host.name for host in ctx.state.failed_hosts})
    if run.executed:
        _add_unreachable(ctx)
    report = _with_journal_end(run, to_report(run, _facts_of_pyinfra(ctx)))
    folder = run.home.run(run.id)
    # With --json standard output is for pyinfra's JSON.
    console = screen.console(sys.stderr if json_mode else sys.stdout)
    with contextlib.suppress(OSError):  # without a terminal (SIGHUP) the records are written all the same
        problem = _write(folder, report)
        if run.executed:
            console.print()
            console.print(table.render(report) if report.verdict == "unchanged" else screen.overview(report))
        console.print(problem or f"report: {folder / 'report.html'}", soft_wrap=True)
    return report


def _facts_of_pyinfra(ctx: RunContext) -> PyinfraFacts:
    run = ctx.run
    metas = [data.operation_meta for operations in ctx.state.ops.values() for data in operations.values()]
    stopped_early = run.stopped is not None or (run.executed and not run.complete)
    return PyinfraFacts(
        failed=bool(ctx.state.failed_hosts) or stopped_early or not all(run.wiped.values()),
        order={host.name: number for number, host in enumerate(ctx.state.inventory)},
        round_trips={host.name: int(host.connector_data.get("round_trips") or 0) for host in ctx.state.activated_hosts},
        changed=any(meta.is_complete() and meta.did_change() for meta in metas),
    )


def _with_journal_end(run: Run, report: Report) -> Report:
    """Write the journal's last line, and add the journal's length and head to the report."""
    if run.journal.path is None:
        return report
    run.emit(RunEnded(verdict=report.verdict, exit=report.exit_status, reason=report.reason))
    notes = [*report.notes]
    if run.journal.waiting:
        notes.append(f"{run.journal.path}: the last {run.journal.waiting} lines could not be written")
    row = JournalRow(lines=run.journal.count, head=run.journal.head)
    return report.model_copy(update={"journal": row, "notes": notes})


def _write(folder: Path, report: Report) -> str | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / "report.html").write_text(html.render(report), encoding="utf-8")
        (folder / "report.md").write_text(markdown.render(report), encoding="utf-8")
    except OSError as error:
        return f"{error.filename or folder}: the report cannot be written ({error.strerror})"
    return None


def close_outcomes(run: Run, *, failed: Collection[str]) -> None:
    """Give every target its last phase and reason for the report.

    Args:
        run: the run, at its end.
        failed: names of hosts that failed.
    """
    for outcome in run.outcomes.values():
        if outcome.phase in OPEN:
            outcome.extend_deadline(run.elapsed)
        if outcome.phase is TargetPhase.SWITCHING:
            # Its end is not known. A later run reads and records it: `record_late_outcomes`.
            outcome.live, outcome.healthy = None, None
            run.set_phase(outcome, TargetPhase.SWITCHING, outcome.reason, event="switching")
        elif outcome.phase is TargetPhase.PLANNED:
            run.set_phase(outcome, *_never_switched(run, outcome, failed))


def _never_switched(run: Run, outcome: TargetOutcome, failed: Collection[str]) -> tuple[TargetPhase, str]:
    """The phase of a target that was never switched, and the reason."""
    others = [one for one in run.outcomes.values() if one.host == outcome.host and one.phase in FAILED_HERE]
    if others:
        return TargetPhase.UNTOUCHED, f"{others[0].service} {others[0].phase} here before its turn"
    if outcome.host in failed:
        return TargetPhase.FAILED, f"{_last_stage(run, outcome.host)} failed here, see its output"
    if run.refused:
        return TargetPhase.UNTOUCHED, "the run was refused"
    if run.stopped:
        return TargetPhase.UNTOUCHED, f"the run was stopped ({run.stopped})"
    return TargetPhase.UNTOUCHED, "the run ended before its turn"


def _last_stage(run: Run, host: str) -> str:
    return next((span.stage for span in reversed(run.spans) if span.host == host and span.ok is not True), "a stage")


def _add_unreachable(ctx: RunContext) -> None:
    """Give unreachable targets their rows too."""
    run = ctx.run
    lost = [*ctx.unreachable_targets, *(ctx.unreachable_builders if run.command.all_builders else [])]
    if lost:
        run.set_first_cause(f"{', '.join(lost)} cannot be reached")
    targets = {host.name: host for host in ctx.state.inventory}
    for name in ctx.unreachable_targets:
        for service in ctx.services(targets[name]):
            outcome = run.outcome(name, service.name)
            run.set_phase(outcome, TargetPhase.UNTOUCHED, "cannot be reached, left out")
