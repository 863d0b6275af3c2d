"""Carry the three streams of one command between an SSH channel and the launcher's process."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh

from lab.windows.noise import NoiseFilter

DRAIN_SECONDS = 2.0
"""Seconds without output after which streams are no longer read once the command has ended. They end at once
unless a process broke away."""


async def follow(process: Any, child: asyncio.subprocess.Process, result: Path) -> int:
    """Carry the three streams until the command ends; end the command when the channel closes."""
    assert child.stdin and child.stdout and child.stderr
    feeding = asyncio.create_task(_feed(process.stdin, child.stdin))
    gone = asyncio.create_task(_kill_when(process.channel.wait_closed, child))
    pumps = [_Pump(child.stdout, process.stdout), _Pump(child.stderr, process.stderr, NoiseFilter())]
    try:
        await _exited(child.pid)
        await _drain(pumps)
    finally:
        for task in (feeding, gone, *(pump.task for pump in pumps)):
            task.cancel()
    try:
        return int(result.read_text())
    except (FileNotFoundError, ValueError):
        return 255


async def _exited(pid: int) -> None:
    """Wait until process `pid`, a child, has ended; asyncio's own `wait` also waits for the end of its pipes."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def _kill_when(event: Callable[[], Awaitable[None]], child: asyncio.subprocess.Process) -> None:
    await event()
    end_command(child)


def end_command(child: asyncio.subprocess.Process) -> None:
    """End the launcher, and with it the command's whole process tree, which is in its job."""
    with suppress(ProcessLookupError):
        child.kill()


async def _feed(source: Any, target: asyncio.StreamWriter) -> None:
    with suppress(BrokenPipeError, ConnectionResetError, asyncssh.Error):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    with suppress(BrokenPipeError, ConnectionResetError):
        target.close()


class _Pump:
    """Carries one output stream to the client, at the client's speed."""

    def __init__(self, source: asyncio.StreamReader, target: Any, noise: NoiseFilter | None = None) -> None:
        self.source, self.target, self.noise = source, target, noise
        self.moved = 0
        self.blocked = False
        self.task = asyncio.create_task(self._carry())

    async def _carry(self) -> None:
        while data := await self.source.read(65536):
            self.moved += len(data)
            await self._pass(self.noise.feed(data) if self.noise else data)
        await self._pass(self.noise.end() if self.noise else b"")

    async def _pass(self, data: bytes) -> None:
        if data:
            self.blocked = True
            self.target.write(data)
            await self.target.drain()
            self.blocked = False


async def _drain(pumps: Sequence[_Pump]) -> None:
    """Wait for the end of the streams, but not for a process that broke away from the job and holds them.

    Such a process lives on. Under Wine it holds the pipes even if it did not inherit them; on Windows it would not.
    """
    pending = {pump.task for pump in pumps}
    while pending:
        before = sum(pump.moved for pump in pumps)
        _, pending = await asyncio.wait(pending, timeout=DRAIN_SECONDS)
        if before == sum(pump.moved for pump in pumps) and not any(pump.blocked for pump in pumps):
            return
