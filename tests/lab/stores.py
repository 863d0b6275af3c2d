"""Real stores on loopback for the tests of publishing: nginx with DAV and a token check, and an S3 endpoint (moto)."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.requirements import download_package

TOKEN = "t0ken-of-the-lab-4711"
USER = "nobody"
_NGINX = """\
daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log info;
events {{ worker_connections 64; }}
http {{
  log_format seen '$server_port $request_method $uri $status auth=$http_authorization named=$http_job_token';
  access_log {root}/access.log seen;
  client_body_temp_path {root}/body; proxy_temp_path {root}/t; fastcgi_temp_path {root}/t;
  uwsgi_temp_path {root}/t; scgi_temp_path {root}/t;
  client_max_body_size 100m;
  limit_req_zone $binary_remote_addr zone=slow:32k rate=2r/s;
  dav_methods PUT DELETE; create_full_put_path on; root {root}/files;
  server {{
    listen 127.0.0.1:{port};
    location /bearer/ {{ if ($http_authorization != "Bearer {token}") {{ return 401; }} }}
    location /named/  {{ if ($http_job_token != "{token}") {{ return 403; }} }}
    location /open/   {{ }}
    location /nothing/ {{ dav_methods off; return 404; }}
    location /limited/ {{ limit_req zone=slow; limit_req_status 429; }}
    location /small/  {{ client_max_body_size 1k; }}
    location /quota/  {{ if ($request_method = PUT) {{ return 507; }} }}
    location /twisted/ {{ sub_filter program pr0gram; sub_filter_types *; sub_filter_once off; }}
    location ~ ^/moved/(.*)$ {{ return 307 /named/$1; }}
    location /elsewhere/ {{ if ($request_method = PUT) {{ return 307 http://127.0.0.1:{other}$request_uri; }} }}
    location ~ ^/away/(.*)$ {{ return 302 http://127.0.0.1:{other}/open/$1; }}
  }}
  server {{ listen 127.0.0.1:{other}; location / {{ }} }}
  server {{
    listen 127.0.0.1:{tls} ssl; ssl_certificate {root}/cert.pem; ssl_certificate_key {root}/key.pem;
    location / {{ if ($http_authorization != "Bearer {token}") {{ return 401; }} }}
  }}
}}
"""


@dataclass
class Nginx:
    """A running nginx; ``files`` is what it serves and takes."""

    root: Path
    port: int
    other: int
    tls: int

    @property
    def files(self) -> Path:
        """Where what was put lies."""
        return self.root / "files"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """Every request it has answered, with the credentials that it saw."""
        return (self.root / "access.log").read_text()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nginx() -> Iterator[Nginx]:
    """nginx as `USER`, with a folder and ports of its own; the machine's nginx is left alone."""
    root = Path(tempfile.mkdtemp(prefix="gofallback-nginx-"))
    made = Nginx(root, free_port(), free_port(), free_port())
    try:
        (root / "files").mkdir()
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", str(root / "key.pem"), "-out", str(root / "cert.pem")),
            ],
            check=True,
            capture_output=True,
        )
        config = root / "nginx.conf"
        config.write_text(_NGINX.format(root=root, port=made.port, other=made.other, tls=made.tls, token=TOKEN))
        subprocess.run(["chown", "-R", USER, str(root)], check=True)
        command = [_program(root), "-c", str(config), "-p", str(root), "-e", str(root / "error.log")]
        with _process(command, made.port, root / "start.log", user=USER):
            yield made
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _program(root: Path) -> str:
    """The machine's nginx, else Debian's package unpacked beside: installing it would start one on port 80."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found:
        return found
    download_package("nginx", root)
    package = next(root.glob("nginx_*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(package), str(root / "package")], check=True)
    return str(root / "package" / "usr" / "sbin" / "nginx")


def s3_endpoint(folder: Path, **environment: str) -> Iterator[str]:
    """moto's server: S3's requests, sums and multipart uploads, in memory."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _process(command, port, folder / "moto.log", environment=environment):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _process(
    command: list[str], port: int, log: Path, user: str | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    full = os.environ | (environment or {})
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, user=user, start_new_session=True, env=full)
    try:
        until = time.monotonic() + 60
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} does not answer: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def cutting(port: int, cuts: list[int], carried: list[int] | None = None) -> Iterator[int]:
    """A relay before a port. It resets the connection that carries byte ``cuts[0]`` of all that clients send, then the one with
    byte ``cuts[1]``, and so on. ``carried`` gets the size of every piece that came from a client.
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
            threading.Thread(target=_carry, args=(client, port, left, count), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _carry(client: socket.socket, port: int, cuts: list[int], count: list[int]) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as server, contextlib.suppress(OSError):
        back = threading.Thread(target=_pump, args=(server, client, [], []), daemon=True)
        back.start()
        if _pump(client, server, cuts, count):
            # an abort, not an end: RST instead of FIN
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.shutdown(socket.SHUT_RDWR)
        back.join(5)


def _pump(source: socket.socket, target: socket.socket, cuts: list[int], count: list[int]) -> bool:
    """Whether it ended because it was cut."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            count.append(len(chunk))
            if cuts and sum(count) > cuts[0]:
                del cuts[0]
                return True
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    return False
