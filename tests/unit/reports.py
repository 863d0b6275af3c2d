"""Reports for tests: a good day and a bad day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from gofallback.report.model import Report, Span, Stage, StageName
from gofallback.report.rows import (
    ApprovalRow,
    ArtifactRow,
    Hold,
    Identity,
    JournalRow,
    OverrideRow,
    SourceRow,
    TargetRow,
    WaveRow,
)

START = datetime(2026, 11, 22, 3, 12, 44, tzinfo=UTC)
COMMIT = "9b2dbbff27e3a8ff1edfe40a6777eabb89b9e021"
SHA = "a1" * 32
NEW, OLD = "v1.1.0-1a2b3c4d", "v1.0.0-aaaabbbb"


def stage(name: StageName, *spans: Span) -> Stage:
    return Stage(name=name, spans=list(spans))


def row(host: str, **changes: object) -> TargetRow:
    base = TargetRow(
        host=host,
        service="hello",
        outcome="confirmed",
        release=NEW,
        commit=COMMIT,
        sha256=SHA,
        health="healthy",
        seconds=4.2,
        previous=OLD,
        running=NEW,
    )
    return TargetRow.model_validate({**base.model_dump(), **changes})


def good() -> Report:
    return Report(
        run_id="20261122T031244Z-9f3a",
        command="pyinfra -y inventory.py deploys/fallback.py",
        who="sre@controller",
        started=START,
        ended=START + timedelta(seconds=74.2),
        environment="production",
        stages=[
            stage("activate", Span(host="t1", start=63, end=67), Span(host="t2", start=67, end=71.2)),
            stage("preflight", *(Span(host=host, start=0, end=0.4) for host in ("t1", "t2", "w1"))),
            stage("build", Span(host="w1", start=23.5, end=48, detail="linux/amd64")),
        ],
        sources=[
            SourceRow(service="hello", repository="/srv/hello.git", ref="main", commit=COMMIT, version="v1.1.0"),
        ],
        artifacts=[
            ArtifactRow(
                service="hello",
                platform="linux/amd64",
                version="v1.1.0",
                commit=COMMIT,
                go_version="1.27.0",
                key=SHA,
                sha256=SHA,
                size=1_585_278,
                builder="w1",
                seconds=24.5,
            )
        ],
        targets=[row("t1"), row("t2")],
        verdict="done",
    )


def bad() -> Report:
    report = good()
    spans = [
        Span(host="t1", start=63, end=67, status="reverted"),
        Span(host="t2", start=67, end=71.2, status="failed", detail="GET /healthz: 503"),
    ]
    return report.model_copy(
        update={
            "stages": [*report.stages[1:], stage("activate", *spans)],
            "targets": [
                row("t1", outcome="reverted", running=OLD, reason="put back because t2 failed"),
                row("t2", outcome="failed", health="unhealthy", running=OLD, reason="GET /healthz answered 503"),
                row(
                    "t3", outcome="untouched", release="", commit="", sha256="", health="unknown", seconds=0, running=""
                ),
            ],
            "verdict": "reverted",
            "reason": "t2: not healthy within 20 s",
            "notes": ["the mirror of hello is 3 h old"],
        }
    )


def rollout(count: int, *, waves: int = 4, name: str = "t{}", fall: int | None = None) -> Report:
    """A rollout over so many targets, in waves of about the same size; one of them may fall.

    Args:
        count: targets.
        waves: after the canary.
        name: of a target, with its number in it.
        fall: number of the target that reverts, and ends the rollout.
    """
    hosts = [name.format(number + 1) for number in range(count)]
    size = max(1, -(-(count - 1) // waves))
    groups = [hosts[:1], *(hosts[at : at + size] for at in range(1, count, size))]
    at, rows, holds, spans = 10.0, [], [], []
    shown: list[WaveRow] = []
    broken = False
    for number, group in enumerate(groups):
        label = "canary" if number == 0 else f"wave {number} of region eu-central-{number}"
        if broken:
            shown.append(WaveRow(name=label, hosts=group))
            rows += [
                row(host, outcome="untouched", running=OLD, version=OLD[:6], reason="the rollout was stopped")
                for host in group
            ]
            continue
        ends = [at + 3 + (place * 7) % 5 / 4 for place in range(len(group))]
        broken = fall is not None and hosts[fall] in group
        stop = max(ends) + 0.4
        for host, end in zip(group, ends, strict=True):
            fell = fall is not None and host == hosts[fall]
            spans.append(Span(host=host, start=at, end=end, status="reverted" if fell else "ok"))
            if not fell:
                holds.append(Hold(host=host, service="hello", start=end, end=stop, ended="confirmed"))
            rows.append(
                row(host, outcome="reverted", running=OLD, version=OLD[:6], reason="not healthy within 20 s")
                if fell
                else row(host, version=NEW[:6], version_before=OLD[:6])
            )
        state: Literal["failed", "passed"] = "failed" if broken else "passed"
        shown.append(
            WaveRow(
                name=label,
                hosts=group,
                start=at,
                end=stop,
                state=state,
                pause=0.0 if broken or group is groups[-1] else 2.0,
            )
        )
        at = stop + 2
    back = [hold.model_copy(update={"end": at, "ended": "reverted"}) for hold in holds]
    return good().model_copy(
        update={
            "command": "rollout",
            "ended": START + timedelta(seconds=at + 4),
            "stages": [
                stage("preflight", *(Span(host=host, start=0, end=0.8) for host in hosts)),
                stage("release", *(Span(host=host, start=1, end=4 + n % 7 / 2) for n, host in enumerate(hosts))),
                stage("activate", *spans),
                stage("confirm", *(Span(host=span.host, start=at, end=at + 1) for span in spans)),
            ],
            "targets": rows,
            "waves": shown,
            "holds": back if fall is not None else holds,
            "verdict": "done" if fall is None else "reverted",
            "reason": "" if fall is None else f"hello on {hosts[fall]}: not healthy within 20 s",
        }
    )


def audited(report: Report) -> Report:
    """The same with everything that says who, why and by whose leave."""
    return report.model_copy(
        update={
            "identity": Identity(
                user="root",
                uid=0,
                sudo_user="alice",
                host="ctl1",
                pid=4711,
                keys=["SHA256:2uqd6vVTRtNRCY4lU9N9nyK2hSu/wYSGd1zxRHvDvHY alice@ctl1 (ED25519, id_ed25519)"],
                commit=COMMIT,
                dirty=True,
                gofallback="0.1.0",
            ),
            "why": "INC-4711: the mirror answers 500",
            "approvals": [
                ApprovalRow(
                    principal="bob@example.com",
                    key="SHA256:u6dhqKcNNrAbNyPf0cCbRjSLAXo8AZHNAaZyL3NqBK4",
                    at="2026-11-22T02:10:00Z",
                    expires="2026-11-23T02:10:00Z",
                )
            ],
            "overrides": [OverrideRow(kind="freeze", what="year end, until 2026-12-31", why="INC-4711")],
            "journal": JournalRow(lines=23, head=SHA),
        }
    )
