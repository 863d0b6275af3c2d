"""The end of a run: the table, the drawn timeline, and the records. Runs even when pyinfra gave up half way."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
import gevent
import pyinfra

from gofallback.deploys.rollout.switch import BEGUN, begun
from gofallback.deploys.run.report import to_report
from gofallback.deploys.run.state import Outcome, Run
from gofallback.operations.detached import end_running, stop_following
from gofallback.pyinfra_patches.flags import cli_parameters
from gofallback.report import html, markdown, screen, table
from gofallback.report import model as records
from gofallback.report.rows import JournalRow

if TYPE_CHECKING:
    from gofallback.deploys.run.context import RunContext

_BAD = ("failed", "reverted")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install_exit_handlers(ctx: RunContext, *, json_mode: bool) -> None:
    """See to it that the run's end is recorded and told truly, however it comes.

    pyinfra 3.10 exits 0 on Ctrl-C (pyinfra_cli.main), and SIGTERM and SIGHUP end it without a word: here each ends the
    run in order, with the shell's exit status for it (128 and its number).
    """
    code = 0

    def stop(number: int, _: object) -> None:
        nonlocal code
        code = 128 + number
        ctx.run.stopped = ctx.run.stopped or signal.Signals(number).name
        stop_following()
        for greenlet in list(ctx.state.pool.greenlets):
            greenlet.kill(block=False)  # else disconnecting would wait for a free place in the pool
        # Raised here it would end whichever greenlet runs just now, such as a paramiko thread, and the run would go on.
        gevent.get_hub().handle_system_error(SystemExit, SystemExit(code))

    def end() -> None:
        if pyinfra.is_cli:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        try:
            if code:
                _end_running_builds(ctx, hung_up=code == 128 + signal.SIGHUP)
            report = finish(ctx, json_mode)
        except Exception:
            # A mistake of ours: Python would print it and exit 0 (atexit), as if the run had done what it was asked.
            traceback.print_exc()
            os._exit(code or 1)
        if pyinfra.is_cli and (code or (report is not None and report.exit_status)):
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            # whatever pyinfra thinks of it: it knows hosts that failed, not what became of them
            os._exit(code or (report.exit_status if report else 0))

    atexit.register(end)
    if pyinfra.is_cli:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, stop)


def _end_running_builds(ctx: RunContext, *, hung_up: bool) -> None:
    """What this run began on a builder outlives it unless it is ended; whoever lost a terminal wants it to go on."""

    def say(line: str, bad: bool) -> None:
        ctx.run.note(line)
        with contextlib.suppress(OSError):
            click.secho(line, fg="red" if bad else "yellow", err=True)

    end_running(say, leave=hung_up or ctx.run.options.leave_builds)


def finish(ctx: RunContext, json_mode: bool) -> records.Report | None:
    """Write the run's records and print its table; None when the run has nothing to tell."""
    run = ctx.run
    if run.command in ("status", "builds") or not (run.executed or (run.refused and not cli_parameters().get("dry"))):
        return None
    order = {host.name: number for number, host in enumerate(ctx.state.inventory)}
    trips = {host.name: int(host.connector_data.get("round_trips") or 0) for host in ctx.state.activated_hosts}
    close_outcomes(run, failed={host.name for host in ctx.state.failed_hosts})
    _add_unreachable(ctx)
    failed = bool(ctx.state.failed_hosts) or (run.executed and not run.complete) or run.stopped is not None
    failed = failed or not all(run.wiped.values())
    report = to_report(run, failed=failed, order=order, round_trips=trips, changed=_changed(ctx))
    report = _with_journal_end(run, report)
    folder = run.home.run(run.id)
    # With --json standard output belongs to pyinfra's JSON.
    console = screen.console(sys.stderr if json_mode else sys.stdout)
    with contextlib.suppress(OSError):  # a terminal that is gone (SIGHUP) is no reason to lose the records
        trouble = _write(folder, report)
        if run.executed:
            console.print()
            console.print(table.render(report) if report.verdict == "unchanged" else screen.overview(report))
        console.print(trouble or f"report: {folder / 'report.html'}", soft_wrap=True)
    return report


def _with_journal_end(run: Run, report: records.Report) -> records.Report:
    """The journal's last line, and what the report knows of it."""
    if run.journal.path is None:
        return report
    run.tell("ended", verdict=report.verdict, exit=report.exit_status, reason=report.reason)
    notes = [*report.notes]
    if run.journal.waiting:
        notes.append(f"{run.journal.path}: the last {run.journal.waiting} lines could not be written")
    stands = JournalRow(lines=run.journal.count, head=run.journal.head)
    return report.model_copy(update={"journal": stands, "notes": notes})


def _write(folder: Path, report: records.Report) -> str | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / "report.html").write_text(html.render(report), encoding="utf-8")
        (folder / "report.md").write_text(markdown.render(report), encoding="utf-8")
    except OSError as error:
        return f"{error.filename or folder}: the report cannot be written ({error.strerror})"
    return None


def close_outcomes(run: Run, *, failed: Collection[str]) -> None:
    """Say of every outcome that was never decided why not.

    Args:
        run: the run, at its end.
        failed: names of hosts that failed.
    """
    for outcome in run.outcomes.values():
        if outcome.state == "provisional":
            _extend_deadline(run, outcome)
        if outcome.state != "planned":
            continue
        if (outcome.reason or "").startswith(BEGUN):
            _begun(run, outcome)
            continue
        others = [one for one in run.outcomes.values() if one.host == outcome.host and one.state in _BAD]
        if others:
            run.became(outcome, "untouched", f"{others[0].service} {others[0].state} here before its turn")
        elif outcome.host in failed:
            run.became(outcome, "failed", f"{_last_stage(run, outcome.host)} failed here, see its output")
        elif run.refused:
            run.became(outcome, "untouched", "the run was refused")
        elif run.stopped:
            run.became(outcome, "untouched", f"the run was stopped ({run.stopped})")
        else:
            run.became(outcome, "untouched", "the run ended before its turn")


def _begun(run: Run, outcome: Outcome) -> None:
    """A target at work whose end nobody has seen: with a window it goes back, and a later run will see that it did."""
    outcome.live, outcome.healthy = None, None
    goes_back = outcome.reason != begun(0)
    if goes_back:
        outcome.lose(run.elapsed)
    run.became(outcome, "provisional" if goes_back else "failed", outcome.reason)


def _extend_deadline(run: Run, outcome: Outcome) -> None:
    """The window began anew with every renewal since it was told: at the latest now."""
    try:
        told = datetime.fromisoformat(outcome.deadline)
    except ValueError:
        return  # nothing was told
    put_off = told + timedelta(seconds=max(0.0, run.elapsed - outcome.deadline_told))
    outcome.deadline = put_off.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _last_stage(run: Run, host: str) -> str:
    return next((span.stage for span in reversed(run.spans) if span.host == host and span.ok is not True), "a stage")


def _add_unreachable(ctx: RunContext) -> None:
    """Targets that were never reached get their rows too."""
    if not ctx.run.executed:
        return
    lost = [*ctx.unreachable_targets, *(ctx.unreachable_builders if ctx.run.command in ("standby", "wipe") else [])]
    if lost:
        ctx.run.cause = ctx.run.cause or f"{', '.join(lost)} cannot be reached"
    targets = {host.name: host for host in ctx.state.inventory}
    for name in ctx.unreachable_targets:
        for service in ctx.services(targets[name]):
            ctx.run.became(ctx.run.outcome(name, service.name), "untouched", "cannot be reached, left out")


def _changed(ctx: RunContext) -> bool:
    metas = [data.operation_meta for operations in ctx.state.ops.values() for data in operations.values()]
    return any(meta.is_complete() and meta.did_change() for meta in metas)
