"""Targets of a lab as pyinfra's hosts, for tests that call single steps without a whole run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from lab import Host as LabHost
from lab import Lab


class Messages(logging.Handler):
    """What pyinfra printed, line by line."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines)


def entry(lab: Lab, machine: LabHost) -> tuple[str, dict[str, Any]]:
    """A host of a lab as pyinfra's inventory has it."""
    connector = "winssh" if machine.record.os == "windows" else "linssh"
    return f"@{connector}/{machine.name}", {
        "ssh_hostname": machine.address,
        "ssh_user": machine.record.user,
        "ssh_key": str(lab.file.key),
        "ssh_known_hosts_file": str(lab.file.known_hosts),
        "ssh_strict_host_key_checking": "yes",
    }


@contextmanager
def recorded() -> Iterator[Messages]:
    """What pyinfra prints meanwhile."""
    messages = Messages()
    logger = logging.getLogger("pyinfra")
    logger.addHandler(messages)
    logger.setLevel(logging.INFO)
    try:
        yield messages
    finally:
        logger.removeHandler(messages)


@contextmanager
def connected(lab: Lab, *machines: LabHost) -> Iterator[tuple[State, list[Host], Messages]]:
    """Connect to hosts of a lab, by default to every target.

    Gives pyinfra's state, its hosts in the same order, and what it prints.
    """
    hosts = [entry(lab, machine) for machine in machines or lab.targets]
    state = State(Inventory((hosts, {})), Config(CONNECT_TIMEOUT=20))
    with recorded() as messages:
        try:
            connect_all(state)
            found = list(state.inventory)
            assert all(host.connected for host in found), messages.text
            yield state, found, messages
        finally:
            for host in state.inventory:
                host.disconnect()
