"""The run and the hosts it is about: made once per pyinfra state, shared by every stage."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import click
from gevent.lock import RLock
from pyinfra.api.exceptions import NoGroupError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from gofallback.controller.paths import Home
from gofallback.deploys.run.journal import begin
from gofallback.deploys.run.options import Options, parse_options
from gofallback.deploys.run.state import Run
from gofallback.deploys.run.timing import Timing
from gofallback.errors import GofallbackError
from gofallback.git import git_command
from gofallback.model import Fleet, Service, parse_fleet
from gofallback.pyinfra_patches.order import in_program_order
from gofallback.pyinfra_patches.speed import know_deploy_file
from gofallback.redact import hide, secrets_in
from gofallback.release.state import ServiceState
from gofallback.rollout.records import became
from gofallback.runid import base_of

FLEET_KEYS = frozenset(
    {
        *("environment", "services", "service_overrides", "toolchain", "builder", "target"),
        *("rollout", "approval", "freeze", "publish", "trust", "vulnerabilities"),
    }
)


_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}(-\w+)?")
_EXPECTED = (
    "expected the id of a run, such as 20261122T031244Z-9f3a; deploys/status.py shows it where one is unfinished"
)


class RefusedError(GofallbackError):
    """The run must not begin: nothing has been changed anywhere."""


@dataclass
class Site:
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


_SITES: WeakKeyDictionary[State, Site] = WeakKeyDictionary()
_MAKING = RLock()


def current_host() -> Host:
    """The host whose deploy file is being executed."""
    host: Host = ctx_host.get()
    return host


def site(command: str | None = None) -> Site:
    """The site of the current pyinfra state.

    Args:
        command: name of the deploy; given once, by preflight, which makes the site.

    Raises:
        DataError: group data or ``--data`` that cannot be used.
    """
    state: State = ctx_state.get()
    with _MAKING:
        if state not in _SITES:
            if command is None:
                raise RefusedError("a deploy has to begin with preflight(...)")
            _SITES[state] = _make(state, command)
        return _SITES[state]


def members(state: State, group: str) -> list[Host]:
    try:
        members = set(state.inventory.get_group(group))
    except NoGroupError:
        return []
    return [host for host in state.inventory if host in members]


def _group(state: State, name: str) -> list[Host]:
    return [host for host in members(state, name) if state.is_host_in_limit(host)]


def _make(state: State, command: str) -> Site:
    for host in state.inventory:
        hide(secrets_in(host.data.dict()))
    options = parse_options(state.inventory.get_override_data(), FLEET_KEYS)
    hosts = {role: _group(state, role) for role in ("builders", "targets")}
    # The data of builders counts even where --limit leaves them out: it names the toolchain, part of an artifact's key.
    fleets = {host.name: _fleet(host) for host in (*members(state, "builders"), *hosts["targets"])}
    for fleet in fleets.values():
        git_command.withhold(
            name for service in fleet.services.values() for name in service.build.private.variables_named
        )
    run = Run(command=command, home=Home.default(), options=options, fleets=fleets, id=_run_id(options))
    made = Site(run=run, state=state)
    for host in hosts["builders"]:
        _sort(host, state, made.builders, made.unreachable_builders)
    for host in hosts["targets"]:
        _sort(host, state, made.targets, made.unreachable_targets)
    _check_services(made, hosts["targets"])
    state.add_callback_handler(Timing(run, lambda: begin(made)))
    in_program_order(state)
    know_deploy_file(state.current_deploy_filename)
    # Without -y pyinfra asks in the middle of a failing run whether to go on, and --fail-percent ends it there: either
    # way the targets that were switched would not be put back (pyinfra 3.10, State.fail_hosts).
    state.should_raise_failed_hosts = lambda _: False
    from gofallback.deploys.run.finish import at_end  # here: it needs Site

    at_end(made, json_mode=_json_mode())
    return made


def _run_id(options: Options) -> str:
    """Empty: a new one. A run that goes on with another has that one's id and a suffix of its own.

    Raises:
        RefusedError: what was given is no run's id.
    """
    if options.resume and options.abort:
        raise RefusedError("--data resume and --data abort: one of them; a run goes on, or is taken back")
    earlier = options.resume or options.abort
    if not earlier:
        return ""
    if not _RUN_ID.fullmatch(earlier):
        raise RefusedError(f"--data {'resume' if options.resume else 'abort'}={earlier}: {_EXPECTED}")
    return f"{base_of(earlier)}-r{secrets.token_hex(2)}"


def _sort(host: Host, state: State, reachable: list[Host], unreachable: list[str]) -> None:
    if host in state.activated_hosts:
        reachable.append(host)
    else:
        unreachable.append(host.name)


def _fleet(host: Host) -> Fleet:
    # The keys of others too: parse_fleet tells a misspelt one from them. `--data` stands among them (service=hello).
    return parse_fleet({key: value for key, value in host.data.dict().items() if key not in Options.model_fields})


def _check_services(made: Site, targets: list[Host]) -> None:
    known = sorted({name for host in targets for name in made.run.fleets[host.name].services})
    for name in made.run.options.service:
        if name not in known:
            raise RefusedError(f"--data service={name}: no such service; known: {', '.join(known) or 'none'}")


def _json_mode() -> bool:
    return bool(cli_parameters().get("json_output"))


def cli_parameters() -> dict[str, Any]:
    """pyinfra's own command line options; empty under its API."""
    context = click.get_current_context(silent=True)
    if context is not None:
        return dict(context.params)
    # click keeps its context per thread, and under gevent a greenlet counts as a thread of its own.
    flags = {"--no-wait": "no_wait", "--serial": "serial", "--json": "json_output", "--dry": "dry"}
    flags["--fail-percent"] = "fail_percent"
    given = {argument.partition("=")[0] for argument in sys.argv}
    return {name: True for flag, name in flags.items() if flag in given}
