"""One target and the steps of a release at hand, for tests."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.facts.target import target_state
from gofallback.model import Service
from gofallback.operations.target.activate import TargetHost, activate, describe
from gofallback.operations.target.release import put_release
from gofallback.release import templates
from gofallback.release.activation import ActivationOutcome, Order
from gofallback.release.render import ReleaseFiles, render
from gofallback.release.state import ServiceState
from gofallback.release.upload import Upload
from gofallback.release.upload_plan import LocalProgram, upload_for
from lab import Lab
from tests.lab.programs import program
from tests.lab.pyinfra_host import Messages
from tests.unit.services import service

TEMPLATES = templates.load()
HEALTH = {
    "check": {"type": "http", "url": "http://127.0.0.1:8080/healthz", "body": "^ok"},
    "start_deadline": 6,
    "interval": 0.05,
    "minimum_healthy": 0.5,
}


def hello(fault: str = "", **changes: Any) -> Service:
    """The example service, healthy or with one of its faults."""
    unit = {"type": "notify", "environment": {"HELLO_FAULT": fault}} | changes.pop("unit", {})
    return service(health=changes.pop("health", HEALTH), unit=unit, **changes)


@dataclass
class Target:
    """One target, connected, with the steps under test at hand."""

    lab: Lab
    state: State
    host: Host
    said: Messages

    def see(self, of: Service) -> ServiceState:
        return target_state(self.host, [of], refresh=True).services[of.name]

    def upload(
        self, of: Service, version: str, binary: LocalProgram | None = None
    ) -> tuple[ReleaseFiles, Upload | None]:
        binary = binary or program("hello", version)
        files = render(of, version=version, artifact_key=binary.sha256, agent_key="agent", templates=TEMPLATES)
        manifest = json.dumps({"sha256": binary.sha256, "spec": {"version": version}}, indent=2).encode()
        upload = upload_for(
            target_state(self.host, [of], refresh=True),
            of,
            files,
            manifest=manifest,
            binary=binary,
            agent=program("gofallback-agent"),
            run_id=f"run-{version}",
            minimum_free_mb=16,
        )
        return files, upload

    def put(self, of: Service, version: str, binary: LocalProgram | None = None) -> ReleaseFiles:
        files, upload = self.upload(of, version, binary)
        assert upload is None or put_release(self.state, self.host, upload), self.said.text
        return files

    def activate(self, of: Service, release: str, run_id: str, timeout: float = 40.0) -> ActivationOutcome:
        return activate(TargetHost(self.state, self.host, timeout), Order(of.name, of.home, release, run_id, "al@ctl"))

    def live(self, of: Service, version: str) -> ReleaseFiles:
        files = self.put(of, version)
        outcome = self.activate(of, files.id, f"run-{version}")
        assert outcome.ok, describe(outcome)
        return files

    def answers(self) -> str:
        """What the service says to a client outside."""
        command = ["curl", "-s", "-m", "3", f"http://{self.lab.targets[0].address}:8080/healthz"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
