"""Releases of the example service on one lab target, switched by the agent alone: no controller, no SSH."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from gofallback.model import Service
from gofallback.release import render, templates
from lab import Host
from lab.cache import cache_dir
from lab.windows import pins, trees
from tests.paths import PROJECT

AGENT_SOURCE = PROJECT / "src/gofallback/agent"
HELLO_SOURCE = PROJECT / "lab/example/hello"
FLAGS = ["-trimpath", "-buildvcs=false"]
QUICK: dict[str, Any] = {
    "check": {"type": "http", "url": "http://127.0.0.1:8080/healthz", "body": "^ok"},
    "interval": 0.1,
    "timeout": 1,
    "start_deadline": 6,
    "minimum_healthy": 1,
}
AGENT = "/opt/gofallback/agent/test"


def go(*words: str, cwd: Path, program: str = "go", goarch: str = "amd64") -> subprocess.CompletedProcess[str]:
    """Run a program of the lab's Linux Go toolchain, which is unpacked into the cache on first use."""
    cache = cache_dir()
    root = trees.go_for_linux(cache, pins.GO_DEFAULT, print)
    environment = {
        "PATH": f"{root}/bin:/usr/bin:/bin",
        "HOME": str(cache),
        "GOROOT": str(root),
        "GOCACHE": str(cache / "trees/gocache-linux"),
        "GOTOOLCHAIN": "local",
        "GOTELEMETRY": "off",
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
        "GOARCH": goarch,
    }
    command = ["nice", f"{root}/bin/{program}", *words]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def built(folder: Path) -> dict[str, Path]:
    """The agent and the example service, built into a folder; `other` is the service for another architecture."""
    agent, hello, other = folder / "agent", folder / "hello", folder / "hello-arm64"
    go("build", *FLAGS, "-ldflags=-s -w -buildid=", "-o", str(agent), ".", cwd=AGENT_SOURCE)
    go("build", *FLAGS, "-o", str(hello), "./cmd/hello", cwd=HELLO_SOURCE)
    go("build", *FLAGS, "-o", str(other), "./cmd/hello", cwd=HELLO_SOURCE, goarch="arm64")
    return {"agent": agent, "hello": hello, "other": other}


def service(fault: str = "", after: str = "", *, socket: bool = False, **changes: Any) -> Service:
    """The example service's group data; `changes` replace keys of its health."""
    return Service.model_validate(
        {
            "name": "hello",
            "source": {"repository": "https://git.example.test/hello.git"},
            "unit": {
                "type": "notify" if socket else "exec",
                "environment": {"HELLO_FAULT": fault, "HELLO_FAULT_AFTER": after},
                "stop_timeout": 5,
            },
            "health": QUICK | changes,
            "port": 8080,
            "socket_activation": socket,
            "keep_releases": 3,
        }
    )


class AgentTarget:
    """One target and what the tests do to it."""

    def __init__(self, host: Host, programs: dict[str, Path]) -> None:
        self.host = host
        self.runs = itertools.count(1)
        self._put_programs(programs)

    def _put_programs(self, programs: dict[str, Path]) -> None:
        self.sh("rm -rf /root/programs")  # a program that runs cannot be written to
        for name, path in programs.items():
            self.host.put(f"/root/programs/{name}", path.read_bytes(), 0o755)
        self.sh(f"install -D -m 755 /root/programs/agent {AGENT}; id hello || useradd --system hello")

    def sh(self, command: str, check: bool = True, timeout: float = 120) -> str:
        """Run a command as root on the target."""
        return self.host.run(command, check=check, timeout=timeout).stdout.strip()

    def wipe(self) -> None:
        """Take the service away: a target that never had it."""
        self.sh(
            "systemctl stop 'gofallback-*.timer' --all; systemctl stop 'gofallback-*' 'hello*' --all; "
            "systemctl disable -q hello hello.socket hello-health.timer; rm -rf /opt/hello /var/lib/gofallback "
            "/run/gofallback /etc/systemd/system/*hello* /etc/systemd/system/*.wants/*hello*; "
            "systemctl daemon-reload; systemctl reset-failed",
            check=False,
        )

    def release(self, name: str, data: Service | None = None, program: str = "hello") -> str:
        """Put a release's folder there, rendered by the product."""
        files = render.render(
            data or service(),
            version=name,
            artifact_key="a" * 64,
            agent_key="b" * 64,
            templates=templates.load(PROJECT),
        )
        folder = f"/opt/hello/releases/{name}"
        for path, file in files.files.items():
            self.host.put(f"{folder}/{path}", file.content, file.mode)
        self.sh(
            f"mkdir -p {folder}/bin {folder}/lib; ln -f /root/programs/{program} {folder}/bin/hello; "
            f"ln -f {AGENT} {folder}/lib/gofallback-agent; echo {{}} > {folder}/manifest.json; chmod -R a+rX /opt/hello"
        )
        return name

    def start(self, release: str, run_id: str = "", heal: bool = True, flags: str = "") -> str:
        """Start an activation as the controller does, and return its run id at once."""
        run_id = run_id or f"run-{next(self.runs)}-{os.getpid()}"
        properties = "-p KillMode=mixed" + (" -p Restart=on-abnormal -p RestartSec=100ms" if heal else "")
        self.sh(
            f"systemd-run --quiet --collect --unit=gofallback-activate-hello --service-type=exec {properties} {AGENT} "
            f"activate -plan /opt/hello/releases/{release}/conf/activation.json -run-id {run_id} -started-by test "
            f"{flags}"
        )
        return run_id

    def follow(self, run_id: str, timeout: float = 40) -> tuple[int, list[dict[str, Any]]]:
        """Exit status and lines of `follow`."""
        done = self.host.run(f"{AGENT} follow -service hello -run-id {run_id} -timeout {timeout}", check=False)
        assert done.stdout, f"{done.returncode}: {done.stderr}"
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def activate(self, release: str, run_id: str = "", flags: str = "") -> tuple[int, dict[str, Any]]:
        """Run an activation to its end: exit status and record."""
        code, lines = self.follow(self.start(release, run_id, flags=flags))
        return code, lines[-1] if lines else {}

    def record(self) -> dict[str, Any]:
        """outcome.json as it is now."""
        content: dict[str, Any] = json.loads(self.sh("cat /var/lib/gofallback/hello/outcome.json", check=False) or "{}")
        return content

    def await_stage(self, run_id: str, stage: str, timeout: float = 10) -> None:
        """Wait until the record says that a run is in a stage."""
        end = time.monotonic() + timeout
        while (now := self.record()).get("run_id") != run_id or now["stage"] != stage:
            assert time.monotonic() < end, f"never came to stage {stage}: {now}"

    def go_down(self, how: str) -> None:
        """Reboot (``reboot``) or cut the power, and wait until the host is up again."""
        if how == "reboot":
            self.sh("systemctl reboot", check=False)
            time.sleep(2)
        else:
            self.host.kill()
            self.host.boot()
        self.host.wait_up(60)

    def current(self) -> str:
        """The release that is live, "" for none."""
        return self.sh("readlink /opt/hello/current", check=False).removeprefix("releases/")

    def answers(self, path: str = "/healthz") -> str:
        """What the service says to the controller, "" if it does not answer or is not well."""
        try:
            with urllib.request.urlopen(f"http://{self.host.address}:8080{path}", timeout=2) as response:
                return str(response.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    def units(self) -> dict[str, str]:
        """Every file of ours in systemd's folder with its digest, and what is enabled."""
        lines = self.sh("cd /etc/systemd/system; find . -name '*hello*' -type f -exec sha256sum {} +; "
                        "find . -name '*hello*' -type l -printf 'link %p\\n'").splitlines()  # fmt: skip
        return {path: shlex.split(digest)[0] for digest, _, path in (line.partition(" ") for line in sorted(lines))}
