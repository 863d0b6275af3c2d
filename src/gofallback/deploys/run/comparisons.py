"""Comparisons of builds: rows of the report, events, and the whole comparisons in the run's folder."""

from __future__ import annotations

from pathlib import Path

from gofallback.artifact.compare import Comparison
from gofallback.artifact.spec import BuildSpec
from gofallback.deploys.run.state import Run
from gofallback.journal.events import BuildsCompared
from gofallback.report.rows import ComparisonRow


def label(spec: BuildSpec) -> str:
    """The label of a comparison: ``hello linux/amd64``."""
    return f"{spec.what} {spec.platform}"


def record_folder(run: Run) -> Path:
    """Folder of this run's whole comparisons."""
    return run.home.run(run.id) / "compare"


def save_comparison(run: Run, spec: BuildSpec, found: Comparison, stem: str) -> None:
    """Write the whole comparison into the run's folder, and its summary into the report.

    Args:
        run: the run.
        spec: what was built.
        found: the comparison.
        stem: file name without its ending.
    """
    path = record_folder(run) / f"{stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(found.model_dump_json(indent=2) + "\n")
    record_row(run, spec, found.names, found.sha256, found.lines(), f"compare/{path.name}")


def record_row(
    run: Run,
    spec: BuildSpec,
    names: tuple[str, str],
    sha256: tuple[str, str],
    why: list[str] | None = None,
    file: str = "",
) -> None:
    """Add one row to the report, and emit it.

    Args:
        run: the run.
        spec: what was built.
        names: the builder, and the second builder or target.
        sha256: of both binaries.
        why: why they differ, a line each.
        file: of the whole comparison, in the run's folder.
    """
    same, reasons = sha256[0] == sha256[1], why or []
    run.comparisons.append(
        ComparisonRow(
            service=spec.what,
            platform=spec.platform,
            version=spec.version,
            names=names,
            sha256=sha256,
            same=same,
            why=reasons,
            file=file,
        )
    )
    run.emit(
        BuildsCompared(
            service=spec.service, platform=spec.platform, builders=names, same=same, reason="; ".join(reasons)
        )
    )
