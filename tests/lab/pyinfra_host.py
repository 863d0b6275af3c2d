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


@contextmanager
def connected(lab: Lab) -> Iterator[tuple[State, list[Host], Messages]]:
    """Connect to every target of a lab; gives pyinfra's state, its hosts in the lab's order, and what it prints."""
    hosts: list[tuple[str, dict[str, Any]]] = []
    for target in lab.targets:
        lab_data = {
            "ssh_hostname": target.address,
            "ssh_user": target.record.user,
            "ssh_key": str(lab.file.key),
            "ssh_known_hosts_file": str(lab.file.known_hosts),
            "ssh_strict_host_key_checking": "yes",
        }
        hosts.append((f"@linssh/{target.name}", lab_data))
    state = State(Inventory((hosts, {})), Config(CONNECT_TIMEOUT=10))
    messages = Messages()
    logger = logging.getLogger("pyinfra")
    logger.addHandler(messages)
    logger.setLevel(logging.INFO)
    try:
        connect_all(state)
        found = list(state.inventory)
        assert all(host.connected for host in found), messages.text
        yield state, found, messages
    finally:
        logger.removeHandler(messages)
        for host in state.inventory:
            host.disconnect()
