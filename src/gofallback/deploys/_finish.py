"""The end of a run: the table, the drawn timeline, and the records. Runs even when pyinfra gave up half way."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gofallback.controller.run import Outcome, Run, Span
from gofallback.report import html, markdown, screen, table
from gofallback.report import model as records

if TYPE_CHECKING:
    from gofallback.deploys._site import Site


def finish(site: Site, json_mode: bool) -> None:
    """Write the run's records and print its table; registered with atexit by the site."""
    run = site.run
    if not run.executed or run.command == "status":
        return
    order = {host.name: number for number, host in enumerate(site.state.inventory)}
    trips = {host.name: int(host.connector_data.get("round_trips") or 0) for host in site.state.activated_hosts}
    report = to_report(
        run, failed=bool(site.state.failed_hosts), order=order, round_trips=trips, changed=_changed(site)
    )
    folder = run.home.run(run.id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(html.render(report), encoding="utf-8")
    (folder / "report.md").write_text(markdown.render(report), encoding="utf-8")
    # With --json standard output belongs to pyinfra's JSON.
    console = screen.console(sys.stderr if json_mode else sys.stdout)
    console.print()
    console.print(table.render(report) if report.verdict == "unchanged" else screen.overview(report))
    for note in run.notes:
        console.print(f"note: {note}")
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)


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
        reason=run.refused or _reason(run),
        notes=[*run.notes, *([f"reason: {run.options.reason}"] if run.options.reason else [])],
        round_trips={host: trips[host] for host in sorted(trips, key=lambda host: order.get(host, 0))},
    )


def _reason(run: Run) -> str:
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
        previous=outcome.previous or "",
        running=outcome.live or "",
    )
