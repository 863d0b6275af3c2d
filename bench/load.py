"""A constant load of HTTP requests, each on a connection of its own: `python -m bench.load ADDRESS PORT RATE`.

Each request starts on time, even if earlier ones are not answered yet, as with real users. Runs until standard input
ends, then prints one JSON object: the number of requests, and of lost ones by kind.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

TIMEOUT = 5.0
"""Seconds after which a request counts as lost."""
LOST = ("refused", "reset", "timed out", "5xx")


class Load:
    """Counts the results of all requests."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0

    async def request(self) -> None:
        """Send one request and count its result."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT):
                self.counts[await self._request()] += 1
        except TimeoutError:
            self.counts["timed out"] += 1
        except ConnectionRefusedError:
            self.counts["refused"] += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            self.counts["reset"] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)

    async def _request(self) -> str:
        reader, writer = await asyncio.open_connection(self._address, self._port)
        try:
            writer.write(f"GET / HTTP/1.1\r\nHost: {self._address}\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if not status or not body.endswith(b"\n"):
            return "reset"  # cut off in the middle
        return "5xx" if status[0].startswith(b"5") else body.decode().split()[-1].rstrip(".")


async def main(address: str, port: int, rate: float) -> None:
    """Send requests until standard input ends."""
    load, running = Load(address, port), set()
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    began, number = time.monotonic(), 0
    print("ready", flush=True)
    while not over.done():
        task = asyncio.create_task(load.request())
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
    await asyncio.gather(*running)
    lost = sum(load.counts[kind] for kind in LOST)
    found = {"made": number, "lost": lost, "slowest_s": round(load.slowest, 4), "answers": dict(load.counts)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
