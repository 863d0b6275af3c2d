"""Compared builds: the same rows and lines in every form of the report."""

from __future__ import annotations

from gofallback.report.model import Report
from gofallback.report.rows import ComparisonRow
from gofallback.report.style import some

HEAD = ("service", "version", "platform", "built on", "compared with", "sha256", "sha256 there", "same")


def rows(report: Report) -> list[tuple[str, ...]]:
    """Cells of a table; equal comparisons of one build with several others are one row."""
    alike: dict[tuple[str, ...], list[ComparisonRow]] = {}
    for row in report.comparisons:
        key = (row.service, row.version, row.platform, row.names[0], *row.sha256)
        alike.setdefault(key, []).append(row)
    return [
        (
            *key[:4],
            some([one.names[1] for one in found]),
            *(digest[:12] or "-" for digest in found[0].sha256),
            "yes" if found[0].same else "NO",
        )
        for key, found in alike.items()
    ]


def reasons(report: Report) -> list[str]:
    """Reasons for other bytes: one line each, with all the builds it is true for."""
    alike: dict[tuple[str, ...], list[ComparisonRow]] = {}
    for row in report.comparisons:
        if not row.same:
            alike.setdefault((row.service, row.platform, row.names[0], row.file, *row.why), []).append(row)
    lines = []
    for found in alike.values():
        first = found[0]
        whole = f" (all of it: {first.file} in the run's folder)" if first.file else ""
        what = f"{first.service} {first.platform}, {first.names[0]} and {some([one.names[1] for one in found])}"
        lines += [f"{what}: {why}" for why in first.why[:-1]]
        lines.append(f"{what}: {first.why[-1] if first.why else 'other bytes, for an unknown reason'}{whole}")
    return lines


def verdict(report: Report) -> str | None:
    """Whether the builder can replace the one that built the programs in production; None: not requested."""
    if report.faithful is None:
        return None
    builder = report.comparisons[0].names[0] if report.comparisons else "this builder"
    answer = "yes" if report.faithful else "no"
    if report.faithful and report.uncompared:
        answer = f"yes for {report.compared} of {report.compared + len(report.uncompared)}"
    rest = f"; not compared: {some(report.uncompared)}" if report.uncompared else ""
    return f"{builder} is a faithful replacement: {answer}{rest}"
