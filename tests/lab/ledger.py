"""A lab with one Windows builder and one target, and a project of its own for the service `ledger`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import Lab
from lab.example import make_ledger
from tests.lab.fleet import Result, Running
from tests.paths import PROJECT

PORT = 8090
SERVICE: dict[str, Any] = {
    "build": {
        "package": "./cmd/ledger",
        "binaries": {"ledger-ctl": {"package": "./cmd/ledger-ctl", "stamp": {"main.role": "control of {version}"}}},
        "platforms": ["linux/arm64", "windows/amd64", "darwin/arm64"],
        "version_variable": "main.version",
        "generate": True,
    },
    "unit": {"arguments": ["-config", "/opt/ledger/current/conf/ledger.conf"]},
    "port": PORT,
    "health": {
        "check": {"type": "tcp", "address": f"127.0.0.1:{PORT}"},
        "start_deadline": 10,
        "interval": 0.1,
        "minimum_healthy": 1.0,
        "timeout": 1,
    },
    "smoke": ["--version"],
    "smoke_expect": "^ledger {version} embedded booked generated$",
    "files": {
        "lib/web/": {"repository": "web/**"},
        "conf/ledger.conf": {"repository": "deploy/ledger.conf.j2", "template": True},
        "conf/motd.txt": {"project": "files/motd.txt"},
        "lib/notes.txt": {"text": "kept as it is: {{ values.level }}\n"},
    },
    "values": {"level": "info", "peers": ["a.example.test", "b.example.test"]},
    "archives": {"files": ["LICENSE", "README.md"]},
}
_INVENTORY = """\
import json
from pathlib import Path

from lab import inventory as _lab

builders = _lab.builders()
targets = _lab.targets()
_overrides = json.loads(Path("overrides.json").read_text())
inventory = (_lab.everybody(), {**_lab.data(), "service_overrides": {"ledger": _overrides}})
"""


@dataclass
class Ledger:
    """The lab, the project and its controller."""

    lab: Lab
    root: Path
    """Folder of the project."""

    @classmethod
    def of(cls, lab: Lab, folder: Path) -> Ledger:
        """Make the project and its repository below a folder."""
        made = cls(lab, folder / "project")
        make_ledger(folder / "repository")
        services = made.root / "group_data" / "services"
        services.mkdir(parents=True)
        (made.root / "deploys").symlink_to(PROJECT / "deploys")
        (made.root / "files").mkdir()
        (made.root / "files" / "motd.txt").write_text("welcome\n")
        (made.root / "inventory.py").write_text(_INVENTORY)
        (made.root / "group_data" / "all.py").write_text((PROJECT / "group_data" / "all.py").read_text())
        data = {"source": {"repository": str(folder / "repository")}, **SERVICE}
        (services / "ledger.yml").write_text(json.dumps(data))
        return made

    @property
    def home(self) -> Path:
        """Of the controller."""
        return self.root.parent / "home"

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "GOFALLBACK_LAB": self.lab.name,
            "GOFALLBACK_HOME": str(self.home),
            "PYTHONPATH": str(PROJECT),
            "PYINFRA_PROGRESS": "off",
        }

    def run(self, deploy: str, *args: str, seconds: float = 900, **overrides: Any) -> Result:
        """Give a command as a person would; ``overrides`` change the service in this environment."""
        (self.root / "overrides.json").write_text(json.dumps(overrides))
        yes = [] if "--dry" in args or deploy == "status" else ["-y"]
        flags = [word for word in args if word in ("--dry", "--diff", "--json")]
        rest = [word for word in args if word not in flags]
        program = Path(sys.executable).with_name("pyinfra")
        argv = [str(program), *yes, *flags, "inventory.py", f"deploys/{deploy}.py", *rest]
        return Running(argv, self._environment(), self.root).end(seconds)

    def command(self, *words: str) -> Result:
        """Run ``gofallback``."""
        argv = [str(Path(sys.executable).with_name("gofallback")), *words]
        done = subprocess.run(
            argv, cwd=self.root, env=self._environment(), capture_output=True, text=True, timeout=120, check=False
        )
        return Result(done.returncode, done.stdout + done.stderr)

    def there(self, command: str) -> str:
        """What a command says on the target."""
        return self.lab.host("t1").run(command).stdout.strip()

    def answer(self) -> str:
        """What the service says on its port."""
        with socket.create_connection((self.lab.host("t1").address, PORT), timeout=5) as connection:
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def report(self) -> dict[str, Any]:
        """The newest run's record."""
        found: dict[str, Any] = json.loads(max((self.home / "runs").glob("*/report.json")).read_text())
        return found
