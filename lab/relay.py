"""Delays the frames of one host's link where the kernel has no netem: python -m lab.relay PORT TAP MS CGROUP

Runs in the namespace of the lab's bridge. Takes the host's port off the bridge, puts a TAP in its place, and carries
frames between the two, each held back for MS milliseconds. Ends by being killed; the TAP goes with it.
Needs CONFIG_TUN and CONFIG_PACKET only.
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
FRAME = 70_000  # bytes: a 64 KiB segment that the kernel has not cut yet, and its headers
BUFFER = 8 << 20  # bytes


class Lane:
    """One direction: frames in, the same frames out after the delay, in order."""

    def __init__(self, read: Callable[[], bytes], write: Callable[[bytes], object], delay: float) -> None:
        self._read, self._write, self._delay = read, write, delay
        self._held: deque[tuple[float, bytes]] = deque()

    def take(self) -> None:
        """Take what has arrived, at most 64 frames, so that the other direction has its turn."""
        for _ in range(64):
            try:
                frame = self._read()
            except OSError:  # nothing more (EAGAIN), or told once that the port went down (ENETDOWN): a cut
                return
            if frame:
                self._held.append((time.monotonic() + self._delay, frame))

    def give(self) -> None:
        """Send what has been held long enough."""
        now = time.monotonic()
        while self._held and self._held[0][0] <= now:
            try:
                self._write(self._held.popleft()[1])
            except OSError:  # the port is down (a cut) or its queue is full: on a wire the frame would be lost too
                continue

    def wait(self) -> float:
        """Seconds until the next frame is due."""
        return max(0.0, self._held[0][0] - time.monotonic()) if self._held else 60.0


def open_tap(name: str) -> int:
    """Make a TAP; frames carry a virtio header, so that checksums and big segments stay the kernel's business."""
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
    silence = os.open(os.devnull, os.O_WRONLY)  # who started us has stopped reading
    os.dup2(silence, 1)
    os.dup2(silence, 2)
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
