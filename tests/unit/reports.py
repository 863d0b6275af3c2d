"""Reports for tests: a good day and a bad day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gofallback.report.model import ArtifactRow, Report, SourceRow, Span, Stage, StageName, TargetRow

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
