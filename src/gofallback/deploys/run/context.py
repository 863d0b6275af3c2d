"""One run on its hosts, as every stage gets it: the run's record, pyinfra's state, and values that are made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from gevent.lock import RLock
from pyinfra.api.exceptions import NoGroupError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from gofallback.deploys.run.state import Run
from gofallback.model import Fleet, Service
from gofallback.operations.target.channel import SecondConnection
from gofallback.release.state import ServiceState, TargetState
from gofallback.rollout.decide import Decision
from gofallback.rollout.phases import TargetPhase
from gofallback.rollout.records import phase_of_record

T = TypeVar("T")


@dataclass(frozen=True)
class Key(Generic[T]):
    """Names a value of type ``T`` that a run makes once: ``WAVES: Key[tuple[Wave, ...]] = Key("waves")``."""

    name: str
    of: tuple[Hashable, ...] = ()

    def __call__(self, *of: Hashable) -> Key[T]:
        """The value's key for one host, service or the like."""
        return Key(self.name, of)


@dataclass
class RunContext:
    """A run together with pyinfra's view of it."""

    run: Run
    state: State
    project: Path = field(default_factory=Path.cwd)
    """The project's folder: its templates, keys and approvals."""
    builders: list[Host] = field(default_factory=list)
    """Reachable hosts of the group ``builders``, in inventory order."""
    targets: list[Host] = field(default_factory=list)
    """Reachable hosts of the group ``targets``, in inventory order."""
    unreachable_targets: list[str] = field(default_factory=list)
    unreachable_builders: list[str] = field(default_factory=list)
    excluded_services: set[str] = field(default_factory=set)
    """Services of the targets in which this run turned out to have no part."""
    watchers: list[Callable[[], str | None]] = field(default_factory=list)
    """Each gives the reason why nothing more may be switched, such as a lost lease, or None."""
    decision: Decision | None = None
    """What becomes of the provisional targets; set by `confirm` after every target was read again."""
    target_states: dict[str, TargetState] = field(default_factory=dict)
    """Target to its state as read last (`run.target_state.state_of`)."""
    second_connections: dict[str, SecondConnection] = field(default_factory=dict)
    """Target to the new connection over which it is confirmed."""
    _values: dict[Key[Any], Any] = field(default_factory=dict)
    _locks: dict[Key[Any], Any] = field(default_factory=dict)

    def once(self, key: Key[T], make: Callable[[], T]) -> T:
        """The value of a key, made on first use. Concurrent callers wait for it.

        Args:
            key: names the value, and the host or service it belongs to.
            make: makes it. An exception is raised and not kept: the next caller tries again.
        """
        with self._locks.setdefault(key, RLock()):
            if key not in self._values:
                self._values[key] = make()
            return cast(T, self._values[key])

    def fleet(self, host: Host) -> Fleet:
        """The parsed group data of one host."""
        return self.run.fleets[host.name]

    def services(self, host: Host) -> list[Service]:
        """The services this run handles on one target, by name."""
        fleet = self.fleet(host)
        assigned = fleet.target.services
        chosen = self.run.options.service
        return [
            service
            for name, service in sorted(fleet.services.items())
            if (assigned is None or name in assigned)
            and (not chosen or name in chosen)
            and name not in self.excluded_services
        ]

    def services_in(self, host: Host, *phases: TargetPhase) -> list[Service]:
        """The services of one target that are in one of these phases."""
        return [one for one in self.services(host) if self.run.outcome(host.name, one.name).phase in phases]

    def targets_of(self, service: str) -> list[Host]:
        """The reachable targets on which this run handles a service, by its name."""
        return [host for host in self.targets if any(one.name == service for one in self.services(host))]

    @property
    def host(self) -> Host:
        """The host an operation is being planned or executed for."""
        return current_host()

    @property
    def builder(self) -> Host | None:
        """The builder in use."""
        return next((host for host in self.builders if host.name == self.run.builder), None)

    @property
    def twins(self) -> list[Host]:
        """The second builders: each builds the same as the first, without its output."""
        return [host for host in self.builders if host.name in self.run.twins]

    @property
    def policy_hosts(self) -> list[Host]:
        """Hosts whose group data says what has to be proven of a binary: the targets, or without any the builders."""
        return self.targets or self.builders

    def builds(self, host: Host) -> bool:
        """Whether a host builds in this run: as its builder, or as a twin of it."""
        return host in self.builders and (host.name == self.run.builder or host.name in self.run.twins)

    def active(self, hosts: Iterable[Host]) -> list[Host]:
        """The hosts that have not failed in this run."""
        return [host for host in hosts if host in self.state.active_hosts]

    def note_failure(self, host: Host, service: str, reason: str) -> None:
        """Record why a target failed, for journal and report."""
        self.run.set_phase(self.run.outcome(host.name, service), TargetPhase.FAILED, reason)
        self.run.set_first_cause(reason, host=host.name, service=service)

    def fail(self, host: Host, service: str, reason: str) -> bool:
        """Record and print that a target failed. Always False: the result of its step."""
        self.note_failure(host, service, reason)
        host.log_styled(f"{service}: {reason}", fg="red")
        return False

    def skip(self, host: Host, service: str, reason: str) -> bool:
        """Record and print that a target is left as it is because something else failed. Always False."""
        self.run.set_phase(self.run.outcome(host.name, service), TargetPhase.UNTOUCHED, reason)
        host.log_styled(f"{service}: left as it is: {reason}", fg="yellow")
        return False

    def mark_lost(self, host: Host, service: str, reason: str) -> None:
        """Record and print that a target does not answer. A provisional release there goes back by itself."""
        outcome = self.run.outcome(host.name, service)
        if outcome.phase is TargetPhase.PROVISIONAL:
            self.run.set_lost(outcome, reason)
        outcome.healthy, outcome.reason = None, reason
        self.run.set_first_cause(reason, host=host.name, service=service)
        host.log_styled(f"{service}: {reason}", fg="red")

    def resolve_lost(self, host: Host, service: str, found: ServiceState) -> bool:
        """Record how a lost target ended, by its own report. False: it has not decided yet."""
        outcome = self.run.outcome(host.name, service)
        phase = phase_of_record(found, outcome.run_id or self.run.id, outcome.release)
        if phase is None:
            return False
        outcome.live = found.current
        outcome.healthy = found.health.healthy if found.health else None
        reason = str((found.outcome or {}).get("reason") or "") or None
        if phase is TargetPhase.UNTOUCHED:
            reason = "it was lost before anything was switched there"
        self.run.set_phase(outcome, phase, reason)
        host.log_styled(f"{service}: seen again: {phase}, {found.current or 'nothing'} is live", fg="yellow")
        return True


def current_host() -> Host:
    """The host whose deploy file is being executed."""
    host: Host = ctx_host.get()
    return host


def members(state: State, group: str) -> list[Host]:
    """The hosts of an inventory group, in inventory order; none where there is no such group."""
    try:
        members = set(state.inventory.get_group(group))
    except NoGroupError:
        return []
    return [host for host in state.inventory if host in members]
