"""The end of a run: the table, the drawn timeline, and the records. Runs even when pyinfra gave up half way."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
import pyinfra

from gofallback.controller.run import Outcome, Run, Span
from gofallback.deploys._site import cli_parameters
from gofallback.deploys._switch import BEGUN
from gofallback.report import html, markdown, screen, table
from gofallback.report import model as records

if TYPE_CHECKING:
    from gofallback.deploys._site import Site

_BAD = ("failed", "reverted")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def at_end(site: Site, *, json_mode: bool) -> None:
    """See to it that the run's end is recorded and told truly, however it comes.

    pyinfra 3.10 exits 0 on Ctrl-C (pyinfra_cli.main), and SIGTERM and SIGHUP end it without a word: here each ends the
    run in order, with the shell's exit status for it (128 and its number).
    """
    code = 0

    def stop(number: int, _: object) -> None:
        nonlocal code
        code = 128 + number
        site.run.stopped = site.run.stopped or signal.Signals(number).name
        for greenlet in list(site.state.pool.greenlets):
            greenlet.kill(block=False)  # else disconnecting would wait for a free place in the pool
        # Raised here it would end whichever greenlet runs just now, such as a paramiko thread, and the run would go on.
        gevent.get_hub().handle_system_error(SystemExit, SystemExit(code))

    def end() -> None:
        if pyinfra.is_cli:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        try:
            report = finish(site, json_mode)
        except Exception:
            # A mistake of ours: Python would print it and exit 0 (atexit), as if the run had done what it was asked.
            traceback.print_exc()
            os._exit(code or 1)
        if pyinfra.is_cli and (code or (report is not None and report.exit_status)):
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code or 1)  # whatever pyinfra thinks of it: it knows hosts that failed, not what became of them

    atexit.register(end)
    if pyinfra.is_cli:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, stop)


def finish(site: Site, json_mode: bool) -> records.Report | None:
    """Write the run's records and print its table; None when the run has nothing to tell."""
    run = site.run
    if run.command == "status" or not (run.executed or (run.refused and not cli_parameters().get("dry"))):
        return None
    order = {host.name: number for number, host in enumerate(site.state.inventory)}
    trips = {host.name: int(host.connector_data.get("round_trips") or 0) for host in site.state.activated_hosts}
    settle(run, failed={host.name for host in site.state.failed_hosts})
    _leave_out(site)
    failed = bool(site.state.failed_hosts) or (run.executed and not run.complete) or run.stopped is not None
    report = to_report(run, failed=failed, order=order, round_trips=trips, changed=_changed(site))
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


def _write(folder: Path, report: records.Report) -> str | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / "report.html").write_text(html.render(report), encoding="utf-8")
        (folder / "report.md").write_text(markdown.render(report), encoding="utf-8")
    except OSError as error:
        return f"{error.filename or folder}: the report cannot be written ({error.strerror})"
    return None


def settle(run: Run, *, failed: Collection[str]) -> None:
    """Say of every outcome that was never decided why not.

    Args:
        run: the run, at its end.
        failed: names of hosts that failed.
    """
    for outcome in run.outcomes.values():
        if outcome.state != "planned":
            continue
        if outcome.reason == BEGUN:
            outcome.state, outcome.live, outcome.healthy = "failed", None, None
            continue
        others = [one for one in run.outcomes.values() if one.host == outcome.host and one.state in _BAD]
        outcome.state = "untouched"
        if others:
            outcome.reason = f"{others[0].service} {others[0].state} here before its turn"
        elif outcome.host in failed:
            outcome.state, outcome.reason = "failed", f"{_last_stage(run, outcome.host)} failed here, see its output"
        elif run.refused:
            outcome.reason = "the run was refused"
        elif run.stopped:
            outcome.reason = f"the run was stopped ({run.stopped})"
        else:
            outcome.reason = "the run ended before its turn"


def _last_stage(run: Run, host: str) -> str:
    return next((span.stage for span in reversed(run.spans) if span.host == host and span.ok is not True), "a stage")


def _leave_out(site: Site) -> None:
    """Targets that were never reached get their rows too."""
    if not site.run.executed:
        return
    lost = [*site.unreachable_targets, *(site.unreachable_builders if site.run.command == "standby" else [])]
    if lost:
        site.run.cause = site.run.cause or f"{', '.join(lost)} cannot be reached"
    targets = {host.name: host for host in site.state.inventory}
    for name in site.unreachable_targets:
        for service in site.services(targets[name]):
            outcome = site.run.outcome(name, service.name)
            outcome.state, outcome.reason = "untouched", "cannot be reached, left out"


def _changed(site: Site) -> bool:
    metas = [data.operation_meta for operations in site.state.ops.values() for data in operations.values()]
    return any(meta.is_complete() and meta.did_change() for meta in metas)


def to_report(
    run: Run,
    *,
    failed: bool,
    order: Mapping[str, int],
    round_trips: Mapping[str, int] | None = None,
    changed: bool = False,
) -> records.Report:
    """The run as the record that is kept.

    Args:
        run: the run.
        failed: pyinfra counts a host as failed.
        order: place of each host in the inventory.
        round_trips: commands and file transfers, by host.
        changed: an operation changed something on some host.
    """
    trips = round_trips or {}
    outcomes = sorted(run.outcomes.values(), key=lambda one: (order.get(one.host, 0), one.service))
    targets = [_target(run, outcome) for outcome in outcomes]
    return records.Report(
        run_id=run.id,
        command=run.command,
        who=run.who,
        started=run.started,
        ended=datetime.now(UTC),
        environment=next((fleet.environment for fleet in run.fleets.values()), "default"),
        stages=_stages(run, order),
        sources=_sources(run),
        artifacts=_artifacts(run),
        targets=targets,
        verdict=records.verdict_of(targets, refused=run.refused is not None, failed=failed, changed=changed),
        reason=_stopped(run) or run.refused or _reason(run),
        notes=[*run.notes, *([f"reason: {run.options.reason}"] if run.options.reason else [])],
        round_trips={host: trips[host] for host in sorted(trips, key=lambda host: order.get(host, 0))},
    )


def _stopped(run: Run) -> str | None:
    if run.stopped is None:
        return None
    return f"stopped by {run.stopped}; what was begun on a target ends there alone, deploys/status.py says how"


def _reason(run: Run) -> str:
    if run.cause:
        return run.cause
    for outcome in run.outcomes.values():
        if outcome.state in ("failed", "reverted") and outcome.reason:
            return f"{outcome.host}: {outcome.reason}"
    return next((outcome.reason for outcome in run.outcomes.values() if outcome.reason), "")


def _stages(run: Run, order: Mapping[str, int]) -> list[records.Stage]:
    """One bar a stage and host, from its first operation to its last."""
    stages: dict[str, dict[str, records.Span]] = {}
    for span in run.spans:
        if span.stage in records.STAGES:
            bars = stages.setdefault(span.stage, {})
            bars[span.host] = _joined(bars.get(span.host), _span(run, span))
    return [
        records.Stage(name=name, spans=sorted(stages[name].values(), key=lambda bar: order.get(bar.host, 0)))
        for name in records.STAGES
        if name in stages
    ]


def _joined(earlier: records.Span | None, later: records.Span) -> records.Span:
    if earlier is None:
        return later
    status = later.status if earlier.status == "ok" else earlier.status
    return later.model_copy(update={"start": min(earlier.start, later.start), "status": status})


def _span(run: Run, span: Span) -> records.Span:
    end = span.end if span.end is not None else run.elapsed
    status: records.Status = "ok" if span.ok else "failed"
    states = {outcome.state for (host, _), outcome in run.outcomes.items() if host == span.host}
    if not span.ok and span.stage in ("activate", "confirm") and "reverted" in states:
        status = "reverted"
    return records.Span(host=span.host, start=max(0.0, span.start), end=max(0.0, end), status=status)


def _sources(run: Run) -> list[records.SourceRow]:
    return [
        records.SourceRow(
            service=name, repository=found.repository, ref=found.ref, commit=found.commit, version=found.version
        )
        for name, found in sorted(run.sources.items())
    ]


def _artifacts(run: Run) -> list[records.ArtifactRow]:
    rows = []
    for stored in run.artifacts.values():
        manifest = stored.manifest
        rows.append(
            records.ArtifactRow(
                service=manifest.spec.service,
                platform=manifest.platform,
                version=manifest.spec.version,
                commit=manifest.spec.commit,
                go_version=manifest.spec.go_version,
                key=manifest.key,
                sha256=manifest.sha256,
                size=manifest.size,
                builder=manifest.builder,
                seconds=manifest.seconds,
                origin="built" if manifest.key in run.built else "stored",
            )
        )
    return rows


def _target(run: Run, outcome: Outcome) -> records.TargetRow:
    health: records.Health = "unknown"
    if outcome.healthy is not None:
        health = "healthy" if outcome.healthy else "unhealthy"
    return records.TargetRow(
        host=outcome.host,
        service=outcome.service,
        outcome="untouched" if outcome.state == "planned" else outcome.state,
        release=outcome.release or "",
        commit=outcome.commit or "",
        sha256=outcome.sha256 or "",
        health=health,
        seconds=max(0.0, outcome.seconds),
        reason=outcome.reason or "",
        evidence=list(outcome.evidence),
        previous=outcome.previous or "",
        running=outcome.live or "",
    )
