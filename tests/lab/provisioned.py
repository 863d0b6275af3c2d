"""Provision a builder of a lab as the stage does, over the real connector; as a program it can be killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.deploy import add_deploy
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operations import run_ops
from pyinfra.api.state import State, StateStage

from gofallback.builder.state import BuilderState
from gofallback.deploys.provision import provision_builder
from gofallback.facts.builder import builder_state
from gofallback.model import Fleet, Toolchain, ToolchainPin
from lab import Lab
from tests.lab.pyinfra_host import Messages, entry, recorded
from tests.lab.waiting import wait
from tests.paths import PROJECT

GIT = "2.45.2"
GO, NEWER_GO = "1.26.6", "1.27.3"
ROOT = "C:\\gofallback"
LINUX_GIT = "2.47.3"
LINUX_ROOT = "/home/builder/gofallback"


@dataclass(frozen=True)
class Result:
    """What one provisioning did."""

    ok: bool
    text: str
    """Everything that was printed."""
    round_trips: int
    """Between the connection and the end."""
    changed: list[str]
    """Operations that planned a change."""
    state: BuilderState | None
    """Asked again afterwards, not counted; None: no answer."""


def pin(lab: Lab, tool: str, version: str, **changes: Any) -> ToolchainPin:
    """A pin of one of the lab's archives; `changes` may be what a model would refuse, such as http:// on loopback."""
    archive = lab.file.toolchains[tool][version]
    fields = {"tool": tool, "version": version, "kind": "zip", "arch": "amd64", **changes}
    return ToolchainPin.model_construct(
        **{"url": Path(archive["file"]).as_uri(), "sha256": archive["sha256"], **fields}
    )


def fleet(lab: Lab, go: str, *pins: ToolchainPin, **builder: Any) -> Fleet:
    """Group data of a builder: Go `go`, Git, and the lab's pins unless others are given."""
    table = [*pins, *(pin(lab, tool, v) for tool, versions in lab.file.toolchains.items() for v in versions)]
    made = Fleet.model_validate({"services": {}, "builder": {"minimum_free_mb": 0, **builder}})
    return made.model_copy(update={"toolchain": Toolchain.model_construct(go=go, git=GIT, pins=table)})


def linux_pin(lab: Lab, tool: str, version: str, **changes: Any) -> ToolchainPin:
    """The same of the archives for Linux builders."""
    archive = lab.file.linux_toolchains[tool][version]
    fields = {"tool": tool, "version": version, "os": "linux", "kind": "tar", "arch": "amd64", **changes}
    return ToolchainPin.model_construct(
        **{"url": Path(archive["file"]).as_uri(), "sha256": archive["sha256"], **fields}
    )


def linux_fleet(lab: Lab, go: str, *pins: ToolchainPin, **builder: Any) -> Fleet:
    """Group data of a Linux builder."""
    every = lab.file.linux_toolchains.items()
    table = [*pins, *(linux_pin(lab, tool, version) for tool, versions in every for version in versions)]
    settings = {"os": "linux", "root": LINUX_ROOT, "minimum_free_mb": 0, **builder}
    made = Fleet.model_validate({"services": {}, "builder": settings})
    return made.model_copy(update={"toolchain": Toolchain.model_construct(go=go, git=LINUX_GIT, pins=table)})


def provision(lab: Lab, wanted: Fleet, cache: Path, name: str = "w1") -> Result:
    """Run the stage's operations against one host of the lab."""
    state = State(Inventory(([entry(lab, lab.host(name))], {})), Config(CONNECT_TIMEOUT=10))
    host = next(iter(state.inventory))
    with recorded() as messages:
        try:
            return _provisioned(state, host, wanted, cache, messages)
        finally:
            host.disconnect()


def wait_for_files(folder: Path, files: str) -> None:
    """Wait until a folder has files of that pattern."""
    wait(lambda: list(folder.glob(files)), 60, every=0.01, message=f"no {files} within a minute")


def provision_until_killed(lab: Lab, go: str, cache: Path, name: str, root: Path, moment: str) -> None:
    """Run the stage in a process that is killed as soon as there are files of a pattern below the builder's root."""
    arguments = json.dumps({"lab": lab.name, "go": go, "cache": str(cache), "host": name})
    words = [sys.executable, "-m", "tests.lab.provisioned", arguments]
    killed = subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_files(root, moment)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "it had ended before it was killed"


def _provisioned(state: State, host: Host, wanted: Fleet, cache: Path, messages: Messages) -> Result:
    state.current_stage = StateStage.Prepare
    connect_all(state)
    before = int(host.connector_data.get("round_trips") or 0)
    add_deploy(state, lambda: provision_builder(wanted, host, str(cache)))
    metas = [(min(meta.names), state.ops[host][key].operation_meta) for key, meta in state.op_meta.items()]
    changed = [name for name, meta in metas if meta._maybe_is_change]
    state.current_stage = StateStage.Execute
    try:
        run_ops(state)
    except PyinfraError as error:
        messages.lines.append(str(error))
    trips = int(host.connector_data.get("round_trips") or 0) - before
    ok = host not in state.failed_hosts
    found = _state(host, wanted.builder.root)
    return Result(ok, messages.text, trips, changed, found)


def _state(host: Any, root: str) -> BuilderState | None:
    try:
        return builder_state(host, root, refresh=True)
    except (PyinfraError, OSError):
        return None


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    raised = Lab.load(arguments["lab"])
    one = arguments.get("host", "w1")
    made = (fleet if one.startswith("w") else linux_fleet)(raised, arguments["go"])
    result = provision(raised, made, Path(arguments["cache"]), one)
    print(result.text)
    sys.exit(0 if result.ok else 1)
