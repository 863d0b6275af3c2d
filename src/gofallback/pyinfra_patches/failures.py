"""How pyinfra treats failed hosts.

pyinfra 3.10 (pyinfra/api/state.py, `State.fail_hosts` and `should_raise_failed_hosts`) asks in the middle of a failing
run whether to go on, unless `-y` is given, and ends the run there with `--fail-percent`. Either way switched targets
would not be taken back. And any failed host makes the exit status 1, even an unneeded builder.
"""

from __future__ import annotations

from collections.abc import Collection

from pyinfra.api.state import State


def go_on_after_failures(state: State) -> None:
    """Make pyinfra execute every operation on the remaining hosts without a question."""
    state.should_raise_failed_hosts = lambda _: False


def forgive(state: State, names: Collection[str]) -> None:
    """Remove hosts from pyinfra's list of failed hosts: the run does not need them."""
    state.failed_hosts -= {host for host in state.failed_hosts if host.name in names}
