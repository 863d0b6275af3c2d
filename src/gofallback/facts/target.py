"""The last state read of every target: one round trip serves all stages of a run."""

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

_LAST: WeakKeyDictionary[Host, tuple[tuple[Service, ...], TargetState]] = WeakKeyDictionary()
# The builder's plan asks about every target while each target's own greenlet does: one asks, the other waits for it.
_ASKING: WeakKeyDictionary[Host, RLock] = WeakKeyDictionary()


class Asked(tuple[Service, ...]):
    """Services by their names for whoever prints them: pyinfra shows what a fact was asked with when it is lost."""

    def __repr__(self) -> str:
        return ", ".join(service.name for service in self)


class TargetFact(FactBase[TargetState]):
    """Everything about a target and the services given. None: it did not answer.

    Read it through `target_state`, which remembers it.
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
    """What a target told last; asks it (one round trip) when these services are not known, or ``refresh`` says so.

    Args:
        host: a connected Linux host.
        services: which services it is asked about.
        sudo: become root with ``sudo -n`` (`target.sudo`).
        refresh: ask again.

    Raises:
        FactError: the target did not answer; one line. Within a step, catch it.
    """
    with _ASKING.setdefault(host, RLock()):
        return _target_state(host, tuple(services), sudo=sudo, refresh=refresh)


def _target_state(host: Host, wanted: tuple[Service, ...], *, sudo: bool, refresh: bool) -> TargetState:
    known = _LAST.get(host)
    if known is not None and not refresh and {service.name for service in wanted} <= known[1].services.keys():
        return known[1]
    if known is not None:  # ask about those as well: the next caller may want them
        names = {service.name for service in wanted}
        wanted += tuple(service for service in known[0] if service.name not in names)
    # `_sudo_password` of the host's data would stand in a command line there, for every process of the target to read;
    # what follows the facts goes by `sudo -n` anyway
    found: TargetState | None = host.get_fact(TargetFact, services=Asked(wanted), _sudo=sudo, _sudo_password="")
    if found is None:
        forget(host)
        raise FactError(f"{host.name}: the target did not tell its state; see the lines above, or run again with -vvv")
    _LAST[host] = (wanted, found)
    return found


def forget(host: Host) -> None:
    """Something changed on the target: the next `target_state` asks again."""
    _LAST.pop(host, None)
