"""The loop of one command on one channel, against an SSH server in this process."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from gofallback.connectors import channel
from gofallback.connectors.channel import End, RemoteCommand, run_to_end
from gofallback.operations.target import channel as target
from gofallback.operations.target.channel import BrokenError, TargetCommand

KEY = paramiko.ECDSAKey.generate()


class Server(paramiko.ServerInterface):
    """Lets everybody in and runs a command with sh, once the client has the reply to its request."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self.replied = threading.Event()
        send = transport._send_user_message  # type: ignore[attr-defined]
        transport._send_user_message = lambda message: (send(message), self.replied.set())  # type: ignore[attr-defined]

    def check_auth_none(self, username: str) -> int:
        return paramiko.AUTH_SUCCESSFUL  # type: ignore[attr-defined]

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED  # type: ignore[attr-defined]

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.replied.clear()
        threading.Thread(target=serve, args=(channel, command.decode(), self.replied), daemon=True).start()
        return True


def serve(served: paramiko.Channel, command: str, replied: threading.Event) -> None:
    replied.wait(5)
    with subprocess.Popen(["sh", "-c", command], stdin=-1, stdout=-1, stderr=-1, bufsize=0) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None

        def pump(take: Any, give: Any, end: Any) -> None:
            with suppress(OSError, ValueError):  # the other end is closed
                while data := take(65536):
                    give(data)
            end()

        streams = [
            (served.recv, process.stdin.write, process.stdin.close),
            (process.stdout.read, served.sendall, process.stdout.close),
            (process.stderr.read, served.sendall_stderr, process.stderr.close),
        ]
        threads = [threading.Thread(target=pump, args=stream, daemon=True) for stream in streams]
        for thread in threads:
            thread.start()
        for thread in threads[1:]:
            thread.join()
        served.send_exit_status(process.wait())
        served.close()


@pytest.fixture
def transport() -> Iterator[paramiko.Transport]:
    ours, theirs = socket.socketpair()
    server, client = paramiko.Transport(theirs), paramiko.Transport(ours)
    server.add_server_key(KEY)
    server.start_server(threading.Event(), Server(server))
    client.connect(username="me")
    client.auth_none("me")
    yield client
    client.close()
    server.close()


@pytest.fixture
def command(transport: paramiko.Transport, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Starts a command as steps on targets do; the host is this process."""
    made = SimpleNamespace(get_raw_value=lambda: made.line)
    monkeypatch.setattr(target, "make_unix_command_for_host", lambda *_, **__: made)
    client = SimpleNamespace(get_transport=lambda: transport)
    host: Any = SimpleNamespace(state=None, connector=SimpleNamespace(client=client), connector_data={})

    def start(line: str, timeout: float = 10.0) -> TargetCommand:
        made.line = line
        return TargetCommand(host.state, host, line, sudo=False, timeout=timeout)

    return start


def run(transport: paramiko.Transport, line: str, **options: Any) -> tuple[End, bytes, bytes]:
    out, err = bytearray(), bytearray()
    end = run_to_end(transport.open_session(), line, on_stdout=out.extend, on_stderr=err.extend, **options)
    return end, bytes(out), bytes(err)


def test_both_streams_and_the_exit_code_arrive(transport: paramiko.Transport) -> None:
    assert run(transport, "echo out; echo err >&2; exit 7") == (End(7), b"out\n", b"err\n")


@pytest.mark.parametrize("stdin", [b"x" * 3_000_000, [b"x" * 1_000_000] * 3])
def test_stdin_larger_than_every_buffer_passes_through(transport: paramiko.Transport, stdin: Any) -> None:
    end, out, _ = run(transport, "cat" if isinstance(stdin, bytes) else "cat > /dev/null; echo read", stdin=stdin)
    assert end == End(0) and out in (b"x" * 3_000_000, b"read\n")


def test_a_command_that_takes_too_long_is_timed_out_with_what_it_wrote(
    transport: paramiko.Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "END_SECONDS", 0.1)
    began = time.monotonic()
    end, out, _ = run(transport, "echo begun; exec sleep 9", timeout=1)
    assert (end.timed_out, out) == (True, b"begun\n") and time.monotonic() - began < 8


def test_a_connection_that_breaks_is_lost(transport: paramiko.Transport) -> None:
    pieces: list[bytes] = []

    def cut(data: bytes) -> None:
        pieces.append(data)
        transport.sock.close()

    end = run_to_end(transport.open_session(), "echo begun; exec sleep 5", on_stdout=cut, on_stderr=pieces.append)
    assert (end.lost, end.exit_code, pieces) == (True, None, [b"begun\n"])


def test_a_command_that_ends_early_stops_the_writing(transport: paramiko.Transport) -> None:
    with closing(RemoteCommand(transport.open_session(), "exec 0<&-; exit 3")) as remote:
        assert remote.wait(5)
        assert not remote.send([b"x" * 1_000_000] * 100)
        assert remote.exit_code == 3


def test_lines_of_both_streams_come_while_the_command_runs_and_none_says_that_it_is_idle(command: Any) -> None:
    script = "echo one; read line; echo $line >&2; read line; printf last; exit 4"
    with closing(command(script)) as remote:
        lines = remote.lines(idle_timeout=0.2)
        output = (line for line in lines if line is not None)
        assert next(output) == "one" and next(lines) is None
        assert remote.send([b"two\n"]) and next(output) == "two" and not remote.has_ended()
        assert remote.send([b"go\n"]) and list(output) == ["last"]
        assert remote.status() == 4 and remote.has_ended()


def test_a_target_that_is_idle_and_answers_is_waited_for(command: Any) -> None:
    with closing(command("sleep 0.5; echo done", timeout=0.1)) as remote:
        assert list(remote.lines()) == ["done"]


def test_a_target_that_answers_no_more_is_broken(command: Any, transport: paramiko.Transport) -> None:
    with closing(command("exec sleep 5", timeout=0.2)) as remote:
        transport.sock.close()
        with pytest.raises(BrokenError):
            list(remote.lines()) or remote.status()
    with pytest.raises(BrokenError, match="the connection is closed"):
        command("true")
