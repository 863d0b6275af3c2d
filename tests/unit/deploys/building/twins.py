"""Runs with several builders, and attestations of second builds, for tests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gofallback.artifact.binary import inspect_bytes
from gofallback.artifact.spec import BuildSpec
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.options import Options
from gofallback.model import parse_fleet
from gofallback.provenance.keys import controller_key
from gofallback.provenance.twin import make
from tests.unit.attested import MATERIALS, PROGRAM, SPEC, manifest
from tests.unit.contexts import Named, run_context
from tests.unit.services import MINIMAL


class Group(list[Any]):
    """An inventory in which these are the builders."""

    def get_group(self, _: str) -> list[Any]:
        return list(self)


def fleet_of(twin: str = "off") -> Any:
    return parse_fleet({"services": [MINIMAL], "trust": {"twin": twin}})


def standing(
    tmp_path: Path,
    *builders: str,
    twin: str = "off",
    command: str = "fallback",
    away: tuple[str, ...] = (),
    options: Options | None = None,
) -> RunContext:
    """A run with these builders reachable, the first of them in use."""
    ctx = run_context(tmp_path, "t1", builder=builders[0] if builders else None, command=command, options=options)
    ctx.builders = [Named(name) for name in builders]  # type: ignore[misc]
    ctx.unreachable_builders = list(away)
    inventory = Group([*ctx.builders, *(Named(name) for name in away)])
    ctx.state = SimpleNamespace(inventory=inventory, active_hosts={*ctx.builders, *ctx.targets})  # type: ignore[assignment]
    ctx.run.fleets = {"t1": fleet_of(twin)} | {name: fleet_of() for name in builders}
    return ctx


def attestation(keys: Path, *, builder: str = "w2", sha256: str | None = None, spec: BuildSpec = SPEC) -> bytes:
    """The attestation that a controller signs for a second build."""
    second = manifest(spec=spec).model_copy(update={"builder": builder, "built_at": "2026-11-22T03:00:09Z"})
    second = second.model_copy(update={"sha256": sha256 or second.sha256})
    info = inspect_bytes(PROGRAM)
    assert info.build is not None
    return make(second, info.build, MATERIALS, controller_key(keys))
