"""Connections that break, or spoil what they carry."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def cutting(
    port: int, cuts: list[int], carried: list[int] | None = None, spoil: tuple[bytes, bytes] | None = None
) -> Iterator[int]:
    """A relay before a port, for connections that break.

    It resets the connection that carries byte ``cuts[0]`` of all that clients send, then the one with byte ``cuts[1]``,
    and so on. ``carried`` gets the size of every piece that came from a client, ``spoil`` is replaced in them.
    """
    count = carried if carried is not None else []
    listener = socket.create_server(("127.0.0.1", 0))
    left = list(cuts)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_carry, args=(client, port, left, count, spoil), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _carry(
    client: socket.socket, port: int, cuts: list[int], count: list[int], spoil: tuple[bytes, bytes] | None
) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as server, contextlib.suppress(OSError):
        back = threading.Thread(target=_pump, args=(server, client, [], []), daemon=True)
        back.start()
        if _pump(client, server, cuts, count, spoil):
            # an abort, not an end: RST instead of FIN
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.shutdown(socket.SHUT_RDWR)
        back.join(5)


def _pump(
    source: socket.socket,
    target: socket.socket,
    cuts: list[int],
    count: list[int],
    spoil: tuple[bytes, bytes] | None = None,
) -> bool:
    """Whether it ended because it was cut."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            count.append(len(chunk))
            if cuts and sum(count) > cuts[0]:
                del cuts[0]
                return True
            target.sendall(chunk.replace(*spoil) if spoil else chunk)
        target.shutdown(socket.SHUT_WR)
    return False
