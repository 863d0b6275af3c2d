"""The last known state of every target: one round trip serves all stages of a run."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from gevent.lock import RLock
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactError, FactProcessError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host

from gofallback.model import Service
from gofallback.release import state_parser, state_script
from gofallback.release.state import TargetState

_STATES: WeakKeyDictionary[Host, tuple[tuple[Service, ...], TargetState]] = WeakKeyDictionary()
# The builder's plan reads the state of every target while each target's own greenlet does: one reads, the other waits.
_LOCKS: WeakKeyDictionary[Host, RLock] = WeakKeyDictionary()


class Services(tuple[Service, ...]):
    """Services that print as their names: pyinfra prints the arguments of a fact that has no answer."""

    def __repr__(self) -> str:
        return ", ".join(service.name for service in self)


class TargetFact(FactBase[TargetState]):
    """The state of a target and of the given services. None: no answer.

    Read it through `target_state`, which caches it.
    """

    _services: tuple[Service, ...] = ()

    def command(self, services: tuple[Service, ...]) -> StringCommand:
        self._services = services
        return StringCommand(state_script.script(services))

    def process(self, output: Iterable[str]) -> TargetState:
        try:
            return state_parser.parse(output, self._services)
        except state_parser.StateError as error:
            raise FactProcessError(str(error)) from None


def target_state(host: Host, services: Iterable[Service], *, sudo: bool = True, refresh: bool = False) -> TargetState:
    """The cached state of a target; reads it (one round trip) when a service is not in it, or with ``refresh``.

    Args:
        host: a connected Linux host.
        services: the services of the state.
        sudo: become root with ``sudo -n`` (`target.sudo`).
        refresh: read it again.

    Raises:
        FactError: no answer; one line. Within a step, catch it.
    """
    with _LOCKS.setdefault(host, RLock()):
        return _target_state(host, tuple(services), sudo=sudo, refresh=refresh)


def _target_state(host: Host, services: tuple[Service, ...], *, sudo: bool, refresh: bool) -> TargetState:
    known = _STATES.get(host)
    if known is not None and not refresh and {service.name for service in services} <= known[1].services.keys():
        return known[1]
    if known is not None:  # those too: the next caller may need them
        names = {service.name for service in services}
        services += tuple(service for service in known[0] if service.name not in names)
    # `_sudo_password` of the host's data would stand in a command line there, for every process of the target to read;
    # the steps after the facts use `sudo -n` anyway.
    found: TargetState | None = host.get_fact(TargetFact, services=Services(services), _sudo=sudo, _sudo_password="")
    if found is None:
        forget(host)
        raise FactError(
            f"{host.name}: the target did not report its state; see the lines above, or run again with -vvv"
        )
    _STATES[host] = (services, found)
    return found


def forget(host: Host) -> None:
    """Drop the cached state: a step changes the target."""
    _STATES.pop(host, None)
