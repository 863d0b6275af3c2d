"""A controller of its own for the connector tests: pyinfra's API in another process, gevent in place as in its CLI.

`Controller(name, data)` starts it for one host; its methods are the connector's, asked for over a pipe. What it prints
(pyinfra's log) is kept for the test to look at.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.paths import PROJECT


class Controller:
    """One pyinfra run with one host.

    Arguments:
        name: inventory name, such as `@winssh/10.77.0.101`.
        data: host data.
        config: pyinfra configuration, such as `CONNECT_TIMEOUT`.
    """

    def __init__(self, name: str, data: dict[str, Any], config: dict[str, Any] | None = None) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.controller", json.dumps([name, data, config or {}])],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.connected: bool = False
        self.errors: list[str] = []
        answer = self._read()
        self.connected, self.errors = answer["connected"], answer["errors"]

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def run(self, command: str | list[Any], **arguments: Any) -> dict[str, Any]:
        """Run a command; a list makes a StringCommand, in which `["quote", text]` is a QuoteString."""
        return self.ask("run", command=command, arguments=_out(arguments))

    def parallel(self, commands: list[str], **arguments: Any) -> list[dict[str, Any]]:
        """Run commands at the same time on the one connection."""
        answer: list[dict[str, Any]] = self.ask("parallel", commands=commands, arguments=_out(arguments))["answers"]
        return answer

    def put(self, local: Path | bytes, remote: str, **arguments: Any) -> dict[str, Any]:
        """Upload a file, or bytes as an IO object."""
        return self.ask("put", local=_out(local), remote=remote, arguments=_out(arguments))

    def get(self, remote: str, local: Path, **arguments: Any) -> dict[str, Any]:
        """Download to a local file."""
        return self.ask("get", local=_out(local), remote=remote, arguments=_out(arguments))

    def ask(self, what: str, **request: Any) -> dict[str, Any]:
        """Ask and wait for the answer."""
        self.send(what, **request)
        return self._read()

    def send(self, what: str, **request: Any) -> None:
        """Ask without waiting: `answer` reads the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"what": what, **request}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The answer to what was sent."""
        return self._read()

    def kill(self) -> None:
        """SIGKILL, as when a controller's power fails."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the controller process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _out(value: Any) -> Any:
    """Make a value fit for JSON; `_in` is its inverse."""
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, dict):
        return {key: _out(one) for key, one in value.items()}
    return value


def _in(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"bytes"}:
        return base64.b64decode(value["bytes"])
    if isinstance(value, dict) and set(value) == {"path"}:
        return value["path"]
    if isinstance(value, dict):
        return {key: _in(one) for key, one in value.items()}
    return value


def serve(name: str, data: dict[str, Any], config: dict[str, Any]) -> None:
    """The other process: connect, then answer requests until stdin ends."""
    import logging
    import time
    from io import BytesIO

    import gevent
    from pyinfra import logger
    from pyinfra.api.command import QuoteString, StringCommand
    from pyinfra.api.config import Config
    from pyinfra.api.connect import connect_all
    from pyinfra.api.exceptions import PyinfraError
    from pyinfra.api.inventory import Inventory
    from pyinfra.api.state import State

    from gofallback.connectors.output import CommandTimeoutError

    log: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.append(record.getMessage())

    logger.setLevel(logging.INFO)
    logger.addHandler(Keep())
    logger.propagate = False
    inventory = Inventory(([name], {}), override_data=data)  # type: ignore[no-untyped-call]
    state = State(inventory, Config(**config))  # type: ignore[no-untyped-call]
    failed = ""
    try:
        connect_all(state)
    except PyinfraError as error:  # "No hosts remaining!"
        failed = str(error)
    host = next(iter(state.inventory))
    errors = [line for line in log if "Connected" not in line]
    reply({"connected": host.connected, "errors": errors, "failed": failed})

    def command(parts: Any) -> Any:
        if isinstance(parts, str):
            return StringCommand(parts)
        return StringCommand(*[QuoteString(one[1]) if isinstance(one, list) else one for one in parts])

    def one(parts: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        started = time.monotonic()
        try:
            ok, output = host.run_shell_command(command(parts), **_in(arguments))
        except CommandTimeoutError as error:
            ok, output = False, error.output
        return {
            "ok": ok,
            "code": getattr(output, "exit_code", None),
            "stdout": output.stdout_lines,
            "stderr": output.stderr_lines,
            "seconds": time.monotonic() - started,
            "timed_out": getattr(output, "timed_out", False),
            "lost": getattr(output, "lost", False),
        }

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        arguments = request.get("arguments", {})
        match request["what"]:
            case "run":
                return one(request["command"], arguments)
            case "parallel":
                jobs = [gevent.spawn(one, each, arguments) for each in request["commands"]]
                gevent.joinall(jobs)
                return {"answers": [job.get() for job in jobs]}
            case "put":
                local = _in(request["local"])
                ok = host.put_file(
                    BytesIO(local) if isinstance(local, bytes) else local, request["remote"], **arguments
                )
                return {"ok": ok}
            case "get":
                return {"ok": host.get_file(request["remote"], _in(request["local"]), **arguments)}
            case "numbers":
                return {**host.connector_data, "memory_kb": peak_memory_kb()}
            case other:
                raise ValueError(other)

    while line := sys.stdin.readline():
        log.clear()
        started = time.monotonic()
        result = answer(json.loads(line))
        reply({"seconds": time.monotonic() - started, "log": list(log), **result})
    host.disconnect()


def peak_memory_kb() -> int:
    """The most memory this process had since the last question (VmHWM; proc(5), clear_refs)."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))


def reply(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()
    serve(*json.loads(sys.argv[1]))
