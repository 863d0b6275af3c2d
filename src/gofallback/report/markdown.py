"""A summary in Markdown, to paste into an incident."""

from __future__ import annotations

from collections.abc import Iterable

from gofallback.report import audit, comparisons, vulnerabilities
from gofallback.report.model import Report
from gofallback.report.style import seconds_text, size_text, verdict_words
from gofallback.report.table import runs_now
from gofallback.report.timeline import ordered
from gofallback.rollout.phases import GOOD, TargetPhase


def render(report: Report) -> str:
    """GitHub-flavoured Markdown; every value is escaped."""
    return (
        "\n".join(
            [
                *_head(report),
                *_targets(report),
                *_waves(report),
                *_evidence(report),
                *_built(report),
                *_compared(report),
                *_vulnerable(report),
                *_stages(report),
                *_notes(report),
            ]
        )
        + "\n"
    )


def _head(report: Report) -> list[str]:
    lines = [
        f"## {report.verdict}: {verdict_words(report)}",
        "",
        *(f"- **{_cell(line)}**" for line in audit.overrides(report)),
        f"- run: {_code(report.run_id)}, environment {_code(report.environment)}",
        *(f"- {label}: {_cell(text)}" for label, text in audit.lines(report)),
        f"- started: {report.started:%Y-%m-%d %H:%M:%S %Z}, took {seconds_text(report.seconds)}",
        f"- command: {_code(report.command)}",
    ]
    lines += [
        f"- source: {_code(source.service)} {_code(source.version)} = commit {_code(source.commit)}"
        f" ({_code(source.ref)} of {_cell(source.repository)})" + (f"; {_cell(source.note)}" if source.note else "")
        for source in report.sources
    ]
    if report.reason:
        lines.append(f"- **why**: {_cell(report.reason)}")
    return lines


def _targets(report: Report) -> list[str]:
    if not report.targets:
        return []
    rows = (
        (
            row.host,
            row.service,
            row.outcome,
            row.running or ("-" if row.outcome is TargetPhase.UNTOUCHED else "nothing"),
            row.previous or ("-" if row.outcome is TargetPhase.UNTOUCHED else "nothing"),
            row.commit[:12],
            row.sha256[:12],
            row.health,
            f"{row.seconds:.1f}",
        )
        for row in report.targets
    )
    head = ("target", "service", "outcome", "runs now", "before", "commit", "sha256", "health", "seconds")
    bad = [row for row in report.targets if row.outcome not in GOOD]
    reasons = [
        f"- {_code(row.host)} {row.outcome}: {_cell(row.reason or 'no reason recorded')}; {_cell(runs_now(row))}"
        for row in bad
    ]
    return ["", "### Targets", "", *_table(head, rows), *(["", *reasons] if reasons else [])]


def _waves(report: Report) -> list[str]:
    if len(report.waves) < 2:
        return []
    head = ("wave", "state", "hosts", "after (s)", "took", "pause after")
    rows = (
        (
            wave.name,
            wave.state,
            f"{len(wave.hosts)}: {', '.join(wave.hosts)}",
            f"{wave.start:.1f}" if wave.start is not None else "-",
            seconds_text(wave.end - wave.start) if wave.start is not None and wave.end is not None else "-",
            seconds_text(wave.pause) if wave.pause else "-",
        )
        for wave in report.waves
    )
    return ["", "### Waves", "", *_table(head, rows)]


def _built(report: Report) -> list[str]:
    if not report.artifacts:
        return []
    head = ("service", "platform", "version", "Go", "sha256", "size", "builder", "seconds", "origin")
    rows = (
        (
            artifact.what,
            artifact.platform,
            artifact.version,
            artifact.go_version,
            artifact.sha256,
            size_text(artifact.size),
            artifact.builder,
            f"{artifact.seconds:.1f}",
            artifact.origin,
        )
        for artifact in report.artifacts
    )
    linked = [f"- {one.what} {one.platform}: {one.libc}" for one in report.artifacts if one.libc]
    return ["", "### Artifacts", "", *_table(head, rows), *(["", *linked] if linked else [])]


def _compared(report: Report) -> list[str]:
    if not report.comparisons:
        return []
    faithful = comparisons.verdict(report)
    notes = [f"- **{faithful}**"] if faithful else []
    notes += [f"- {_cell(line)}" for line in comparisons.reasons(report)]
    return [
        "",
        "### Compared builds",
        "",
        *_table(comparisons.HEAD, comparisons.rows(report)),
        *(["", *notes] if notes else []),
    ]


def _vulnerable(report: Report) -> list[str]:
    if not report.scans:
        return []
    rows = [tuple(row) for row in vulnerabilities.rows(report.scans)]
    lines = ["", *(f"- {_cell(line)}" for line in vulnerabilities.lines(report.scans))]
    table = ["", *_table(vulnerabilities.HEAD, rows)] if rows else []
    return ["", "### Known vulnerabilities", *lines, *table]


def _stages(report: Report) -> list[str]:
    stages = ordered(report)
    if not stages:
        return []
    rows = (
        (
            stage.name,
            f"{stage.start:.1f}",
            seconds_text(stage.end - stage.start),
            str(len({span.host for span in stage.spans})),
            ", ".join(sorted({f"{span.host} {span.status}" for span in stage.spans if span.status != "ok"})) or "-",
        )
        for stage in stages
    )
    return ["", "### Timeline", "", *_table(("stage", "after (s)", "took", "hosts", "not ok"), rows)]


def _evidence(report: Report) -> list[str]:
    lines = []
    for row in report.targets:
        if row.evidence:
            # indented, not fenced: no text can end the block
            lines += ["", f"### Journal of {_cell(row.service)} on {_cell(row.host)}", ""]
            lines += ["    " + " ".join(line.split()) for line in row.evidence]
    return lines


def _notes(report: Report) -> list[str]:
    return ["", "### Notes", "", *(f"- {_cell(note)}" for note in report.notes)] if report.notes else []


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [_line(head), _line(tuple("---" for _ in head))]
    return [*lines, *(_line(tuple(_cell(value) for value in row)) for row in rows)]


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(text: str) -> str:
    """One line, with everything escaped that is special in Markdown or its HTML."""
    text = " ".join(text.split())
    for char in "\\`*_[]|#~!":
        text = text.replace(char, "\\" + char)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")


def _code(text: str) -> str:
    """Inline code; a backtick would end it, a bar would end a cell."""
    if not text.strip():
        return "-"
    return "`" + " ".join(text.split()).replace("`", "'") + "`"
