"""A whole lab and the commands a person gives it: what the tests of the emergency and of the bad days stand on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import Lab
from tests.paths import PROJECT

PYINFRA = Path(sys.executable).with_name("pyinfra")
#: Quick clocks, so that a bad day does not take a day.
QUICK = {"start_deadline": 10, "interval": 0.1, "minimum_healthy": 1.5, "timeout": 1}
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Result:
    """How a command ended."""

    code: int
    output: str
    """Both streams, as they came."""

    def line(self, pattern: str) -> str:
        """The first line that holds a pattern; fails when there is none."""
        found = next((line for line in self.output.splitlines() if re.search(pattern, line)), None)
        assert found is not None, f"no line with {pattern!r} in:\n{self.output}"
        return found


class Running:
    """A command that is still at work."""

    def __init__(self, argv: list[str], env: dict[str, str], project: Path = PROJECT) -> None:
        self.process = subprocess.Popen(
            argv, cwd=project, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            with self._news:
                self.lines.append(ANSI.sub("", raw.decode(errors="replace").rstrip()))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, pattern: str, seconds: float = 120) -> str:
        """Wait until a line holds a pattern."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if re.search(pattern, line):
                        return line
                seen = len(self.lines)
                if not self._reader.is_alive() or time.monotonic() > deadline:
                    raise AssertionError(f"no line with {pattern!r} in:\n" + "\n".join(self.lines))
                self._news.wait(0.5)

    def enter(self) -> None:
        """Press Enter: pyinfra asks whether to go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL: the controller's power goes."""
        self.process.kill()
        self.process.wait()

    def end(self, seconds: float = 300) -> Result:
        """Wait for the end."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("it does not end:\n" + "\n".join(self.lines)) from None
        self._reader.join(10)
        return Result(code, "\n".join(self.lines))


@dataclass
class Fleet:
    """The lab, and a controller's home of its own."""

    lab: Lab
    home: Path
    data: dict[str, Any] = field(default_factory=dict)
    project: Path = PROJECT
    """The checkout in which the commands are given."""

    def start(self, deploy: str, *args: str, data: dict[str, Any] | None = None, home: Path | None = None) -> Running:
        """Start ``pyinfra -y`` with a deploy; ``data`` is group data, ``hello`` in it overrides the service."""
        wanted: dict[str, Any] = {"hello": {"health": QUICK}}
        for name, value in {**self.data, **(data or {})}.items():
            wanted[name] = {**wanted.get(name, {}), **value} if isinstance(value, dict) else value
        if "health" in wanted["hello"]:
            wanted["hello"]["health"] = {**QUICK, **wanted["hello"]["health"]}
        controller = home or self.home
        controller.mkdir(parents=True, exist_ok=True)
        file = controller / f"data-{time.monotonic_ns()}.json"
        file.write_text(json.dumps(wanted))
        env = {
            **os.environ,
            "GOFALLBACK_LAB": self.lab.name,
            "GOFALLBACK_HOME": str(controller),
            "GOFALLBACK_TEST_DATA": str(file),
            "PYINFRA_PROGRESS": "off",
        }
        flags = [arg for arg in args if arg in ("--dry", "--diff", "--json")]
        rest = [arg for arg in args if arg not in flags]
        yes = [] if flags or deploy == "status" else ["-y"]
        inventory = str(Path(__file__).with_name("fleet_inventory.py"))
        return Running([str(PYINFRA), *yes, *flags, inventory, f"deploys/{deploy}.py", *rest], env, self.project)

    def run(self, deploy: str, *args: str, data: dict[str, Any] | None = None, seconds: float = 400) -> Result:
        """Run a deploy to its end."""
        return self.start(deploy, *args, data=data).end(seconds)

    def command(self, *words: str) -> Result:
        """Run `gofallback` beside a run of this controller."""
        env = {**os.environ, "GOFALLBACK_HOME": str(self.home)}
        program = Path(sys.executable).with_name("gofallback")
        done = subprocess.run([program, *words], cwd=self.project, env=env, capture_output=True, text=True, timeout=60)
        return Result(done.returncode, done.stdout + done.stderr)

    def rollout(self, version: str, *args: str, **hello: Any) -> Result:
        """Roll out a version that is in the store."""
        return self.run("rollout", "--data", f"version={version}", *args, data={"hello": hello})

    def live(self, host: str) -> str | None:
        """The release a target's link names, asked on the target itself."""
        found = self.lab.host(host).run("readlink /opt/hello/current", check=False).stdout.strip()
        return found.rpartition("/")[2] or None

    def answer(self, host: str) -> str:
        """What the service says about its health, over the network."""
        address = self.lab.host(host).address
        try:
            with urllib.request.urlopen(f"http://{address}:8080/healthz", timeout=3) as answer:
                return str(answer.read().decode().strip())
        except (urllib.error.URLError, OSError) as error:
            return f"no answer: {error}"

    def fresh_targets(self) -> None:
        """Every target as on the first day."""
        for target in self.lab.targets:
            target.uncut()
            target.reset()
            target.wait_up()

    def report(self) -> dict[str, Any]:
        """The newest run's record."""
        newest = max((self.home / "runs").glob("*/report.json"))
        found: dict[str, Any] = json.loads(newest.read_text())
        return found
