"""The run and the hosts it is about: made once per pyinfra state, shared by every stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gevent.lock import RLock
from pyinfra.api.exceptions import NoGroupError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from gofallback.deploys.run.state import Run
from gofallback.model import Fleet, Service
from gofallback.release.state import ServiceState
from gofallback.rollout.records import became


@dataclass
class RunContext:
    """A run together with pyinfra's view of it."""

    run: Run
    state: State
    builders: list[Host] = field(default_factory=list)
    """Reachable hosts of the group ``builders``, in inventory order."""
    targets: list[Host] = field(default_factory=list)
    """Reachable hosts of the group ``targets``, in inventory order."""
    unreachable_targets: list[str] = field(default_factory=list)
    unreachable_builders: list[str] = field(default_factory=list)
    lock: Any = field(default_factory=RLock)
    """Held while something is worked out once for all hosts."""
    aside: set[str] = field(default_factory=set)
    """Services of the targets that this run turned out not to be about."""
    memo: dict[str, Any] = field(default_factory=dict)

    def fleet(self, host: Host) -> Fleet:
        """The parsed group data of one host."""
        return self.run.fleets[host.name]

    def services(self, host: Host) -> list[Service]:
        """The services this run handles on one target, by name."""
        fleet = self.fleet(host)
        wanted = fleet.target.services
        chosen = self.run.options.service
        return [
            service
            for name, service in sorted(fleet.services.items())
            if (wanted is None or name in wanted) and (not chosen or name in chosen) and name not in self.aside
        ]

    @property
    def host(self) -> Host:
        """The host an operation is being planned or executed for."""
        return current_host()

    def note_failure(self, host: Host, service: str, reason: str) -> None:
        """Keep why a target failed, for journal and report."""
        self.run.became(self.run.outcome(host.name, service), "failed", reason)
        self.run.blame(host.name, service, reason)

    def fail(self, host: Host, service: str, reason: str) -> bool:
        """Note and say that a target failed. Always False: what its step returns."""
        self.note_failure(host, service, reason)
        host.log_styled(f"{service}: {reason}", fg="red")
        return False

    def leave(self, host: Host, service: str, reason: str) -> bool:
        """Note and say that a target is left as it is because something else failed. Always False."""
        self.run.became(self.run.outcome(host.name, service), "untouched", reason)
        host.log_styled(f"{service}: left as it is: {reason}", fg="yellow")
        return False

    def lose(self, host: Host, service: str, reason: str) -> None:
        """Note and say that a target does not answer. With a provisional release it goes back by itself."""
        outcome = self.run.outcome(host.name, service)
        if outcome.state == "provisional":
            outcome.lose(self.run.elapsed)
            self.run.became(outcome, "provisional", reason)
        outcome.healthy, outcome.reason = None, reason
        self.run.blame(host.name, service, reason)
        host.log_styled(f"{service}: {reason}", fg="red")

    def found_again(self, host: Host, service: str, found: ServiceState) -> bool:
        """A target that was lost tells what became of it. False: it has not decided yet."""
        outcome = self.run.outcome(host.name, service)
        state = became(found, outcome.run_id or self.run.id, outcome.release)
        if state is None:
            return False
        outcome.lost, outcome.live = False, found.current
        outcome.healthy = found.health.healthy if found.health else None
        reason = str((found.outcome or {}).get("reason") or "") or None
        if state == "untouched":
            reason = "it was lost before anything was switched there"
        self.run.became(outcome, state, reason)
        host.log_styled(f"{service}: seen again: {outcome.state}, {found.current or 'nothing'} is live", fg="yellow")
        return True

    @property
    def builder(self) -> Host | None:
        """The builder in use."""
        return next((host for host in self.builders if host.name == self.run.builder), None)

    @property
    def twins(self) -> list[Host]:
        """The builders that build the same beside it, so that two who do not know of one another have to agree."""
        return [host for host in self.builders if host.name in self.run.twins]

    @property
    def judges(self) -> list[Host]:
        """Hosts whose data says what has to be proven of a binary: the targets; builders where there are none."""
        return self.targets or self.builders

    def builds(self, host: Host) -> bool:
        """Whether a host builds in this run: as its builder, or as a twin of it."""
        return host in self.builders and (host.name == self.run.builder or host.name in self.run.twins)

    def active(self, hosts: Iterable[Host]) -> list[Host]:
        """Those that have not failed in this run."""
        return [host for host in hosts if host in self.state.active_hosts]


def current_host() -> Host:
    """The host whose deploy file is being executed."""
    host: Host = ctx_host.get()
    return host


def members(state: State, group: str) -> list[Host]:
    try:
        members = set(state.inventory.get_group(group))
    except NoGroupError:
        return []
    return [host for host in state.inventory if host in members]
