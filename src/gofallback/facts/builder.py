"""The last known state of every builder: one round trip serves all stages of a run."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactError, FactProcessError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host

from gofallback.builder import state_parser
from gofallback.builder.shell import shell_of
from gofallback.builder.state import BuilderState

DEFAULT_ROOT = "C:\\gofallback"
_STATES: WeakKeyDictionary[Host, BuilderState] = WeakKeyDictionary()


class BuilderFact(FactBase[BuilderState]):
    """The state of a builder: system, disk, toolchains, mirrors, checkouts. None: no answer.

    Read it through `builder_state`, which caches it.
    """

    _root: str = ""

    def command(self, root: str) -> StringCommand:
        self._root = root
        return StringCommand(shell_of(root).state(root))

    def process(self, output: Iterable[str]) -> BuilderState:
        try:
            return state_parser.parse(self._root, output)
        except state_parser.StateError as error:
            raise FactProcessError(str(error)) from None


def builder_state(host: Host, root: str | None = None, *, refresh: bool = False) -> BuilderState:
    """The cached state of a builder; reads it (one round trip) when there is none, or with ``refresh``.

    Args:
        host: a connected builder.
        root: ``builder.root``; default: that of the cached state, else of the host's data.
        refresh: read it again.

    Raises:
        FactError: no answer; one line. Within a step, catch it.
    """
    known = _STATES.get(host)
    root = root or (known.root if known else _root_of(host))
    if known is not None and known.root == root and not refresh:
        return known
    # _handle_fact_kwargs lends a fact the arguments of the operation it is read in: none of ours change the answer.
    found: BuilderState | None = host.get_fact(BuilderFact, root=root)
    if found is None:
        forget(host)
        raise FactError(
            f"{host.name}: the builder did not report its state; see the lines above, or run again with -vvv"
        )
    _STATES[host] = found
    return found


def forget(host: Host) -> None:
    """Drop the cached state: a step changes the builder."""
    _STATES.pop(host, None)


def _root_of(host: Host) -> str:
    builder = host.data.get("builder")
    root = builder.get("root") if isinstance(builder, dict) else None
    return root if isinstance(root, str) else DEFAULT_ROOT
