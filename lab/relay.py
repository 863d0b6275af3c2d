"""Delay the frames of one host's link, for kernels without netem: python -m lab.relay PORT TAP MS CGROUP

It runs in the namespace of the lab's bridge. It takes the host's port off the bridge, puts a TAP in its place, and
carries frames between the two, each after MS milliseconds. A kill ends it, and the TAP with it.
It needs only CONFIG_TUN and CONFIG_PACKET.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

# linux/if_tun.h, linux/if_packet.h
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 0x01, 0x02, 0x04
SOL_PACKET, PACKET_VNET_HDR, PACKET_OUTGOING = 263, 15, 4
ETH_P_ALL = 0x0003
FRAME = 70_000  # bytes: an uncut 64 KiB segment of the kernel, with its headers
BUFFER = 8 << 20  # bytes


class Lane:
    """One direction: frames come in, and go out in order after the delay."""

    def __init__(self, read: Callable[[], bytes], write: Callable[[bytes], object], delay: float) -> None:
        self._read, self._write, self._delay = read, write, delay
        self._held: deque[tuple[float, bytes]] = deque()

    def take(self) -> None:
        """Receive at most 64 frames, so that the other direction gets its turn."""
        for _ in range(64):
            try:
                frame = self._read()
            except OSError:  # no more frames (EAGAIN), or the port went down (ENETDOWN, reported once): a cut
                return
            if frame:
                self._held.append((time.monotonic() + self._delay, frame))

    def give(self) -> None:
        """Send the frames that are due."""
        now = time.monotonic()
        while self._held and self._held[0][0] <= now:
            try:
                self._write(self._held.popleft()[1])
            except OSError:  # the port is down (a cut) or its queue is full: a wire loses such a frame too
                continue

    def wait(self) -> float:
        """Seconds until the next frame is due."""
        return max(0.0, self._held[0][0] - time.monotonic()) if self._held else 60.0


def open_tap(name: str) -> int:
    """Make a TAP. Frames have a virtio header, so the kernel handles checksums and big segments."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
    return tap


def open_port(name: str) -> socket.socket:
    """Open the raw side of an interface, with the same virtio header before each frame."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    port.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    port.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    port.setblocking(False)
    port.bind((name, ETH_P_ALL))
    return port


def main(port_name: str, tap_name: str, ms: float, cgroup: Path) -> None:
    """Relay until killed."""
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    tap, port = open_tap(tap_name), open_port(port_name)
    subprocess.run(["ip", "link", "set", port_name, "nomaster"], check=True)
    subprocess.run(["ip", "link", "set", tap_name, "master", "br0", "up"], check=True)

    def from_port() -> bytes:
        frame, address = port.recvfrom(FRAME)
        return b"" if address[2] == PACKET_OUTGOING else frame

    sources: tuple[socket.socket | int, ...] = (port, tap)
    lanes = (
        Lane(from_port, lambda frame: os.write(tap, frame), ms / 1000),
        Lane(lambda: os.read(tap, FRAME), port.send, ms / 1000),
    )
    print("ready", flush=True)
    null = os.open(os.devnull, os.O_WRONLY)  # the parent reads no more
    os.dup2(null, 1)
    os.dup2(null, 2)
    while True:
        readable, _, _ = select.select(sources, [], [], min(lane.wait() for lane in lanes))
        for source, lane in zip(sources, lanes, strict=True):
            if source in readable:
                lane.take()
            lane.give()


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4]))
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{error}")
