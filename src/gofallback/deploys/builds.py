"""Stage `builds`: lists detached builds on the builders, and ends them on request (docs/detached-builds.md)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pyinfra.api.host import Host

from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.stage import stage
from gofallback.gobuild.detached import ListedJob
from gofallback.operations.detached_helper import KeeperError, cancel, list_jobs
from gofallback.pyinfra_patches.flags import cli_parameters
from gofallback.report import screen

_ROWS: Key[dict[str, list[ListedJob]]] = Key("jobs of the builders")
_PROBLEMS: Key[dict[str, str]] = Key("builders without an answer")
_ENDED: Key[list[str]] = Key("jobs that were ended")


@stage("builds", "builders")
def builds(ctx: RunContext, host: Host) -> None:
    """List the jobs of one builder; the last builder prints all."""
    rows, problems = ctx.once(_ROWS, dict), ctx.once(_PROBLEMS, dict)
    try:
        rows[host.name] = _jobs(ctx, host)
    except KeeperError as error:
        problems[host.name] = str(error)
    if len(rows) + len(problems) == len(ctx.builders):
        _show(ctx, {builder.name: rows[builder.name] for builder in ctx.builders if builder.name in rows}, problems)


def _jobs(ctx: RunContext, host: Host) -> list[ListedJob]:
    """The jobs of one builder, after those that are to be ended are.

    Raises:
        KeeperError: no answer, or a job would not end.
    """
    root, selected = ctx.fleet(host).builder.root, ctx.run.options.cancel
    before = list_jobs(ctx.state, host, root)
    if not selected or cli_parameters().get("dry"):
        return before
    ids = [job.id for job in before if job.state == "running" and selected in ("all", job.id)]
    for job in ids:
        try:
            cancel(ctx.state, host, root, job)
        except KeeperError as error:
            raise KeeperError(f"{job}: {error}") from None
        ctx.once(_ENDED, list).append(job)
    return list_jobs(ctx.state, host, root) if ids else before


def _show(ctx: RunContext, known: dict[str, list[ListedJob]], problems: dict[str, str]) -> None:
    troubles = problems | dict.fromkeys(ctx.unreachable_builders, "cannot be reached")
    if cli_parameters().get("json_output"):
        jobs = [_row(name, job) for name, found in known.items() for job in found]
        print(json.dumps({"builds": jobs, "troubles": troubles}, indent=2))
    else:
        console = screen.console()
        for line in _lines(known):
            console.print(line, soft_wrap=True, markup=False)
        for name, trouble in troubles.items():
            console.print(f"{name}: {trouble}", soft_wrap=True, markup=False)
        if ctx.run.options.cancel:
            console.print(_cancel_summary(ctx, known), soft_wrap=True, markup=False)
    # Nothing is left to execute: as in `status`, the run ends before pyinfra asks whether to go on.
    sys.exit(1 if troubles else 0)


def _cancel_summary(ctx: RunContext, known: dict[str, list[ListedJob]]) -> str:
    running = [job for found in known.values() for job in found if job.state == "running"]
    if cli_parameters().get("dry"):
        selected = [job for job in running if ctx.run.options.cancel in ("all", job.id)]
        return f"would end {len(selected)} build(s)"
    ended = len(ctx.once(_ENDED, list))
    return f"ended {ended} build(s), no process of theirs is left" if ended else "nothing to end: no such build runs"


def _lines(known: dict[str, list[ListedJob]]) -> Iterator[str]:
    """A line for each job, running ones first. A line is not wrapped, so that it can be searched."""
    for name, found in known.items():
        for job in sorted(found, key=lambda one: (one.state != "running", -one.started)):
            yield f"[{name}] {job.label}: {_stands(job)} (id {job.id})"
        if not found:
            yield f"[{name}] nothing was built there lately"


def _stands(job: ListedJob) -> str:
    if job.ended <= job.started:
        return f"{job.state_text()}, begun {_time(job.started)}"
    return f"{job.state_text()} after {job.ended - job.started:.0f} s, begun {_time(job.started)}"


def _row(name: str, job: ListedJob) -> dict[str, Any]:
    return {
        "host": name,
        "id": job.id,
        "label": job.label,
        "state": job.state,
        "how": job.how,
        "code": job.code,
        "started": _time(job.started),
        "ended": _time(job.ended) if job.ended else None,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
