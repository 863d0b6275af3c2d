"""nginx on loopback for the tests of publishing: DAV, token checks, and the ways in which a server says no."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
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
        with process(command, made.port, root / "start.log", user=USER):
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


@contextlib.contextmanager
def process(command: list[str], port: int, log: Path, user: str | None = None) -> Iterator[None]:
    """A server that answers on a port of loopback, until the block ends."""
    with log.open("ab") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, user=user, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} does not answer: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait(20)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
