"""The SSH server of one Windows host, a process of its own in the host's network namespace.

`python -m lab.windows.sshd CONFIG.json`: see `ServerConfig`. For a client it behaves like Win32-OpenSSH 9.5: one user,
public keys, exec through `cmd.exe /c`, separate stdout and stderr, 32-bit exit codes, sessions that end with their
connection, at most ten sessions on a connection, SFTP. No PTY and no port forwarding.
"""

import asyncio
import ctypes
import itertools
import json
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.packet import UInt32

from lab.windows.sftp import sftp_server
from lab.windows.streams import end_command, follow
from lab.windows.wine import USER, Wine, raise_open_files

VERSION = "OpenSSH_for_Windows_9.5"
MAX_SESSIONS = 10
"""The default MaxSessions of sshd_config."""
LAUNCHER = r"C:\windows\system32\OpenSSH\sshexec.exe"
STATE = r"C:\ProgramData\ssh\lab"
COMMAND_LIMIT = 8150
"""Longest command in characters; with a longer one Wine's cmd hangs. Windows' limit for the whole line is 8191."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class ServerConfig:
    """Configuration of the server, from a JSON file with the same keys."""

    address: str
    port: int
    prefix: str
    wine: str
    ready: str
    """File that appears when the server listens."""

    @property
    def drive_c(self) -> Path:
        return Path(self.prefix) / "drive_c"

    @property
    def ssh_folder(self) -> Path:
        """C:\\ProgramData\\ssh: host key and administrators' key file, as on a real Windows."""
        return self.drive_c / "ProgramData/ssh"


def _die_with_server() -> None:
    """Make the launcher end when the server is killed. Its job object then ends the command's processes."""
    raise_open_files()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Service:
    """The running service: its Wine, the machine's environment at its start, a number for each session."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.wine = Wine(Path(config.wine))
        self.numbers = itertools.count(1)
        self.state = config.drive_c / "ProgramData/ssh/lab"
        self.home = config.drive_c / "users" / USER

    async def launch(self, extra: dict[str, str], **streams: Any) -> asyncio.subprocess.Process:
        """Start the launcher with `extra` variables on top of Wine's own."""
        return await asyncio.create_subprocess_exec(
            str(self.wine.program),
            LAUNCHER,
            env={**self.wine.environment(Path(self.config.prefix)), **extra},
            cwd=self.home,
            start_new_session=True,
            preexec_fn=_die_with_server,
            **streams,
        )

    async def begin(self) -> None:
        """Boot: start wineserver, and store the machine's environment for all sessions until the next start.

        Output is discarded, because Wine's services inherit it and live on.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        for left in self.state.iterdir():
            left.unlink()
        nothing = asyncio.subprocess.DEVNULL
        server = await asyncio.create_subprocess_exec(
            str(self.wine.server),
            "-p",
            env=self.wine.environment(Path(self.config.prefix)),
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
            preexec_fn=raise_open_files,
        )
        await server.wait()
        boot = await self.launch(
            {"SSHEXEC_SNAPSHOT": rf"{STATE}\machine.env"}, stdin=nothing, stdout=nothing, stderr=nothing
        )
        await boot.wait()


class Connection(asyncssh.SSHServer):
    """One client connection: counts its sessions and has their common environment."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.number = next(service.numbers)
        self.first = asyncio.Lock()
        self.open_sessions = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.conn = conn

    def connection_lost(self, exc: Exception | None) -> None:
        with suppress(FileNotFoundError):
            (self.service.state / f"{self.number}.env").unlink()

    def begin_auth(self, username: str) -> bool:
        if username.lower() == USER:
            keys = self.service.config.ssh_folder / "administrators_authorized_keys"
            self.conn.set_authorized_keys(asyncssh.read_authorized_keys(str(keys)))
        return True

    def session_requested(self) -> Any:
        if self.open_sessions >= MAX_SESSIONS:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed")
        self.open_sessions += 1
        factory = sftp_server(self.service.config.drive_c, f"users/{USER}")
        session = asyncssh.SSHServerProcess(self.handle, factory, 3, True)
        asyncio.get_running_loop().create_task(self._count_down(session))
        return session

    async def _count_down(self, session: Any) -> None:
        await asyncio.sleep(0)  # the channel exists after the reply to the open request
        channel = session.channel
        while channel is None:
            await asyncio.sleep(0.001)
            channel = session.channel
        await channel.wait_closed()
        self.open_sessions -= 1

    async def handle(self, process: Any) -> None:
        """Serve one exec (or shell) request."""
        with suppress(BrokenPipeError, ConnectionResetError, asyncssh.Error):
            await self._run(process)

    async def _run(self, process: Any) -> None:
        command = process.command or ""
        if isinstance(command, bytes):
            command = command.decode("utf-8", "surrogateescape")
        if len(command) > COMMAND_LIMIT:
            process.stderr.write(b"The command line is too long.\r\n")
            _end(process, 1)
            return
        number = next(self.service.numbers)
        result = self.service.state / f"{number}.rc"
        # The first command of a connection makes the environment for the others, as in the real server.
        shared = self.service.state / f"{self.number}.env"
        async with self.first:
            pipe = asyncio.subprocess.PIPE
            child = await self.service.launch(self._variables(command, number), stdin=pipe, stdout=pipe, stderr=pipe)
            while not shared.exists() and child.returncode is None:
                await asyncio.sleep(0.005)
        # On any signal, Win32-OpenSSH ends the shell, and with it the job object (w32_kill, signal_sigchld.c).
        process.signal_received = lambda _name: end_command(child)
        try:
            code = await follow(process, child, result)
        finally:
            end_command(child)
            with suppress(FileNotFoundError):
                result.unlink()
        _end(process, code)

    def _variables(self, command: str, number: int) -> dict[str, str]:
        peer, own = self.conn.get_extra_info("peername"), self.conn.get_extra_info("sockname")
        return {
            "SSHEXEC_COMMAND": command,
            "SSHEXEC_RESULT": rf"{STATE}\{number}.rc",
            "SSHEXEC_MACHINE": rf"{STATE}\machine.env",
            "SSHEXEC_SESSION": rf"{STATE}\{self.number}.env",
            "SSHEXEC_PASS": "SSH_CLIENT,SSH_CONNECTION",
            "SSH_CLIENT": f"{peer[0]} {peer[1]} {own[1]}",
            "SSH_CONNECTION": f"{peer[0]} {peer[1]} {own[0]} {own[1]}",
        }


def _end(process: Any, code: int) -> None:
    """Send the exit status with all its 32 bits (asyncssh's own `exit` keeps 8) and close the channel."""
    channel = process.channel
    channel._send_request(b"exit-status", UInt32(code))
    channel.close()


async def serve(config: ServerConfig) -> None:
    """Start the service and serve until SIGTERM."""
    service = Service(config)
    await service.begin()
    await asyncssh.create_server(
        lambda: Connection(service),
        config.address,
        config.port,
        server_host_keys=[str(config.ssh_folder / "ssh_host_ed25519_key")],
        server_version=VERSION,
        encoding=None,
        allow_pty=False,
        line_editor=False,
        agent_forwarding=False,
        login_timeout=120,
    )
    Path(config.ready).write_text("listening\n")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def main() -> None:
    """Entry of `python -m lab.windows.sshd CONFIG.json`."""
    config = ServerConfig(**json.loads(Path(sys.argv[1]).read_text()))
    asyncio.run(serve(config))


if __name__ == "__main__":
    main()
