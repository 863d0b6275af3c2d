"""A Go module proxy as files, and a server that wants a credential for everything."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def publish(folder: Path, module: str, version: str, files: dict[str, str]) -> None:
    """Put one version of a module into a file proxy (https://go.dev/ref/mod#goproxy-protocol)."""
    place = folder / module / "@v"
    place.mkdir(parents=True, exist_ok=True)
    gomod = f"module {module}\n\ngo 1.26\n"
    (place / "list").write_text(f"{version}\n")
    (place / f"{version}.info").write_text(f'{{"Version":"{version}","Time":"2026-01-01T00:00:00Z"}}')
    (place / f"{version}.mod").write_text(gomod)
    with zipfile.ZipFile(place / f"{version}.zip", "w") as archive:
        for name, content in {"go.mod": gomod, **files}.items():
            archive.writestr(f"{module}@{version}/{name}", content)


class _Unauthorized(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def private_server(address: str) -> Iterator[str]:
    """An HTTP server on ``address`` that answers 401; gives its URL."""
    server = ThreadingHTTPServer((address, 0), _Unauthorized)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
