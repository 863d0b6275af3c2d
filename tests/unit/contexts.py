"""A run on hosts that are not there, for tests of what the stages decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from gofallback.controller.paths import Home
from gofallback.deploys.run.commands import COMMANDS
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.options import Options
from gofallback.deploys.run.state import Run
from gofallback.model import Fleet, Service
from gofallback.model.rollout import Rollout
from gofallback.model.target import Target
from tests.unit.services import MINIMAL


@dataclass(frozen=True)
class Named:
    """As much of pyinfra's host as a stage needs that asks nothing of it."""

    name: str
    said: list[str] = field(default_factory=list, compare=False)

    def log(self, line: str, *_: object) -> None:
        self.said.append(line)

    def log_styled(self, line: str, **_: object) -> None:
        self.said.append(line)


class Inventory(list[Any]):
    """As much of pyinfra's inventory as the order of hosts needs."""

    def get_group(self, name: str) -> list[Any]:
        return list(self)


def run_context(
    tmp_path: Path,
    *names: str,
    marked: tuple[str, ...] = (),
    builder: str | None = None,
    command: str = "fallback",
    rollout: dict[str, Any] | None = None,
    services: tuple[str, ...] = ("hello",),
    only: dict[str, list[str]] | None = None,
    options: Options | None = None,
) -> RunContext:
    """A run on these targets.

    Args:
        tmp_path: the controller's home.
        names: targets.
        marked: those that are canaries.
        builder: name of the builder.
        command: name of the deploy file.
        rollout: group data.
        services: names of all services.
        only: services of a target that does not have all of them.
        options: what `--data` says.
    """
    strategy, known = Rollout.model_validate(rollout or {}), {name: Service(**MINIMAL) for name in services}
    known = {name: one.model_copy(update={"name": name}) for name, one in known.items()}
    fleets = {
        name: Fleet(
            services=known, target=Target(canary=name in marked, services=(only or {}).get(name)), rollout=strategy
        )
        for name in names
    }
    run = Run(
        command=COMMANDS[command], home=Home(tmp_path), options=options or Options(), fleets=fleets, builder=builder
    )
    targets: list[Any] = [Named(name) for name in names]
    builders: list[Any] = [Named(builder)] if builder else []
    state = SimpleNamespace(active_hosts={*targets, *builders}, inventory=Inventory([*targets, *builders]))
    return RunContext(run=run, state=cast(Any, state), targets=targets, builders=builders)
