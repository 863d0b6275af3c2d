"""What pyinfra makes of hosts that failed.

pyinfra 3.10 (pyinfra/api/state.py, `State.fail_hosts` and `should_raise_failed_hosts`) asks in the middle of a failing
run whether to go on, unless `-y` is given, and ends the run there with `--fail-percent`. Either way the targets that
were switched would not be put back. And any failed host makes its exit status 1, also a builder that was not needed.
"""

from __future__ import annotations

from collections.abc import Collection

from pyinfra.api.state import State


def go_on_after_failures(state: State) -> None:
    """Make pyinfra execute every operation on the hosts that are left, and ask nothing."""
    state.should_raise_failed_hosts = lambda _: False


def forgive(state: State, names: Collection[str]) -> None:
    """Take hosts off pyinfra's list of failed ones: the run does what it was asked without them."""
    state.failed_hosts -= {host for host in state.failed_hosts if host.name in names}
