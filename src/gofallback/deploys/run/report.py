"""Makes the report of a run. Pure but for reading the run's journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Literal, TypeVar

from gofallback.deploys.run.outcome import TargetOutcome
from gofallback.deploys.run.state import Run, Span
from gofallback.journal.read import entries
from gofallback.report import model as records
from gofallback.report.rows import ApprovalRow, ArtifactRow, Health, Hold, OverrideRow, SourceRow, TargetRow, WaveRow
from gofallback.rollout.phases import CLOSING_EVENTS, FAILED_HERE, TargetPhase, Verdict, verdict

R = TypeVar("R", ApprovalRow, OverrideRow)


@dataclass(frozen=True, kw_only=True)
class PyinfraFacts:
    """What pyinfra knows of a run at its end."""

    failed: bool
    """A host failed, or the run ended early."""
    order: Mapping[str, int] = field(default_factory=dict)
    """Host name to its place in the inventory."""
    round_trips: Mapping[str, int] = field(default_factory=dict)
    """Host name to its number of commands and file transfers."""
    changed: bool = False
    """An operation changed something on some host."""

    def place(self, host: str) -> int:
        """Place of a host in the inventory."""
        return self.order.get(host, 0)


def to_report(run: Run, known: PyinfraFacts) -> records.Report:
    """The report of a run at its end."""
    outcomes = sorted(run.outcomes.values(), key=lambda one: (known.place(one.host), one.service))
    targets = [_target(outcome) for outcome in outcomes]
    reached = _verdict(run, targets, known)
    return records.Report(
        run_id=run.id,
        command=run.command.name,
        who=run.who,
        started=run.started,
        ended=datetime.now(UTC),
        environment=run.environment,
        stages=_stages(run, known),
        sources=_sources(run),
        artifacts=_artifacts(run),
        targets=targets,
        verdict=reached,
        # an error on the way to a good end, such as a lost answer, is no reason
        reason=_stopped(run) or ("" if reached in records.GOOD_VERDICTS else run.refused or _reason(run)),
        notes=list(run.notes),
        round_trips={host: known.round_trips[host] for host in sorted(known.round_trips, key=known.place)},
        identity=run.identity,
        why=run.options.reason or "",
        approvals=[_fitting(ApprovalRow, row) for row in run.approvals],
        overrides=[_fitting(OverrideRow, row) for row in run.overrides],
        comparisons=list(run.comparisons),
        faithful=run.faithful,
        compared=run.compared,
        uncompared=list(run.uncompared),
        waves=_waves(run),
        holds=_holds(run),
        scans=list(run.scans),
    )


def _verdict(run: Run, targets: list[TargetRow], known: PyinfraFacts) -> Verdict:
    if run.command.production_only and run.refused is None and run.faithful and run.uncompared:
        return "partly"
    phases = [(row.outcome, row.health != "unhealthy") for row in targets]
    return verdict(phases, refused=run.refused is not None, failed=known.failed, changed=known.changed)


def _fitting(model: type[R], row: Mapping[str, str]) -> R:
    """A row of the report, with the keys that the report has."""
    return model(**{key: row.get(key, "") for key in model.model_fields})


def _stopped(run: Run) -> str | None:
    if run.stopped is None:
        return None
    return f"stopped by {run.stopped}; a target ends alone what was begun there, deploys/status.py says how"


def _reason(run: Run) -> str:
    if run.cause:
        return run.cause
    for outcome in run.outcomes.values():
        if outcome.phase in FAILED_HERE and outcome.reason:
            return f"{outcome.host}: {outcome.reason}"
    if run.faithful and run.uncompared:
        return f"{len(run.uncompared)} of what runs was not compared: {run.uncompared[0]}"
    return next((outcome.reason for outcome in run.outcomes.values() if outcome.reason), "")


def _stages(run: Run, known: PyinfraFacts) -> list[records.Stage]:
    """One bar for each stage and host, from its first operation to its last."""
    stages: dict[str, dict[str, records.Span]] = {}
    for span in run.spans:
        if span.stage in records.STAGES:
            bars = stages.setdefault(span.stage, {})
            bars[span.host] = _joined(bars.get(span.host), _span(run, span))
    return [
        records.Stage(name=name, spans=sorted(stages[name].values(), key=lambda bar: known.place(bar.host)))
        for name in records.STAGES
        if name in stages
    ]


def _waves(run: Run) -> list[WaveRow]:
    rows = []
    for wave, after in zip_longest(run.waves, run.waves[1:]):
        state: Literal["passed", "failed", "not reached", "cut off"] = "cut off"
        if wave.state == "waiting":
            phases = {outcome.phase for (host, _), outcome in run.outcomes.items() if host in wave.hosts}
            state = "passed" if phases == {TargetPhase.UNCHANGED} else "not reached"  # it had nothing to do
        elif wave.state != "begun":
            state = wave.state
        pause = after.start - wave.end if after and after.start is not None and wave.end is not None else 0.0
        end = run.elapsed if wave.start is not None and wave.end is None else wave.end
        rows.append(
            WaveRow(
                name=wave.name, hosts=list(wave.hosts), start=wave.start, end=end, state=state, pause=max(0.0, pause)
            )
        )
    return rows


def _holds(run: Run) -> list[Hold]:
    """From when to when each release was provisional, from the journal."""
    if run.journal.path is None:
        return []
    try:
        events = entries(run.journal.path.read_bytes())
    except OSError:
        return []
    holds: dict[tuple[str, str], Hold] = {}
    for entry in events:
        key = (entry.host or "", entry.service or "")
        if entry.run != run.id or entry.at is None:
            continue
        at = max(0.0, (entry.at - run.started).total_seconds())
        if entry.event == "provisional" and (key not in holds or holds[key].ended != "open"):
            holds[key] = Hold(host=key[0], service=key[1], start=at, end=max(at, run.elapsed))
        elif entry.event in CLOSING_EVENTS and key in holds and holds[key].ended == "open":
            holds[key] = holds[key].model_copy(update={"end": max(at, holds[key].start), "ended": entry.event})
    return list(holds.values())


def _joined(earlier: records.Span | None, later: records.Span) -> records.Span:
    if earlier is None:
        return later
    status = later.status if earlier.status == "ok" else earlier.status
    return later.model_copy(update={"start": min(earlier.start, later.start), "status": status})


def _span(run: Run, span: Span) -> records.Span:
    end = span.end if span.end is not None else run.elapsed
    status: records.Status = "ok" if span.ok else "failed"
    phases = {outcome.phase for (host, _), outcome in run.outcomes.items() if host == span.host}
    if not span.ok and span.stage in ("activate", "confirm") and TargetPhase.REVERTED in phases:
        status = "reverted"
    return records.Span(host=span.host, start=max(0.0, span.start), end=max(0.0, end), status=status)


def _sources(run: Run) -> list[SourceRow]:
    return [
        SourceRow(service=name, repository=found.repository, ref=found.ref, commit=found.commit, version=found.version)
        for name, found in sorted(run.sources.items())
    ]


def _artifacts(run: Run) -> list[ArtifactRow]:
    rows = []
    for stored in run.artifacts.values():
        manifest = stored.manifest
        rows.append(
            ArtifactRow(
                service=manifest.spec.service,
                binary=manifest.spec.binary,
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
                libc=_libc(run.libc.get(manifest.key, {})),
            )
        )
    return rows


def _libc(judged: Mapping[str, tuple[str, str]]) -> str:
    """The C library that a dynamic binary needs, and those of the targets, equal ones together."""
    needs = next((needs for needs, _ in judged.values()), "")
    has: dict[str, list[str]] = {}
    for host, (_, library) in sorted(judged.items()):
        has.setdefault(library, []).append(host)
    return (
        f"needs {needs}; there is " + ", ".join(f"{one} on {', '.join(on)}" for one, on in has.items()) if needs else ""
    )


def _target(outcome: TargetOutcome) -> TargetRow:
    health: Health = "unknown"
    if outcome.healthy is not None:
        health = "healthy" if outcome.healthy else "unhealthy"
    return TargetRow(
        host=outcome.host,
        service=outcome.service,
        outcome=outcome.phase,
        release=outcome.release or "",
        commit=outcome.commit or "",
        sha256=outcome.sha256 or "",
        health=health,
        seconds=max(0.0, outcome.seconds),
        reason=outcome.reason or "",
        evidence=list(outcome.evidence),
        previous=outcome.previous or "",
        running=outcome.live or "",
        version=records.version_of(outcome.live or ""),
        version_before=records.version_of(outcome.previous or ""),
        deadline=outcome.deadline,
    )
