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
READ_TOKEN = "canary-read-0nly-token"
USER = "nobody"
_NGINX = """\
daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log info;
events {{ worker_connections 64; }}
http {{
  log_format seen '$server_port $request_method $uri $status auth=$http_authorization named=$http_job_token '
                  'agent=$http_user_agent bytes=$body_bytes_sent';
  access_log {root}/access.log seen;
  client_body_temp_path {root}/body; proxy_temp_path {root}/t; fastcgi_temp_path {root}/t;
  uwsgi_temp_path {root}/t; scgi_temp_path {root}/t;
  client_max_body_size 100m;
  limit_req_zone $binary_remote_addr zone=slow:32k rate=2r/s;
  dav_methods PUT DELETE; create_full_put_path on; root {root}/files;
  server {{
    listen {address}:{port};
    location /bearer/ {{ if ($http_authorization != "Bearer {token}") {{ return 401; }} }}
    location /named/  {{ if ($http_job_token != "{token}") {{ return 403; }} }}
    location /open/   {{ }}
    location /nothing/ {{ dav_methods off; return 404; }}
    location /limited/ {{ limit_req zone=slow; limit_req_status 429; }}
    location /small/  {{ client_max_body_size 1k; }}
    location /quota/  {{ if ($request_method = PUT) {{ return 507; }} }}
    location /twisted/ {{ sub_filter program pr0gram; sub_filter_types *; sub_filter_once off; }}
    location ~ ^/moved/(.*)$ {{ return 307 /named/$1; }}
    # For targets that pull: PUT with the one token, GET with either; then the ways in which only they are served badly.
    location /private/ {{
      set $who "$request_method $http_authorization";
      if ($who !~ "^(PUT|GET) Bearer {token}$|^GET Bearer {read_token}$") {{ return 401; }}
    }}
    location /hidden/ {{ if ($http_user_agent = "gofallback-agent") {{ return 404; }} }}
    location /slow/   {{ if ($http_user_agent = "gofallback-agent") {{ set $limit_rate 100k; }} }}
    location /spoiled/ {{
      if ($http_user_agent = "gofallback-agent") {{ rewrite ^/spoiled/(.*)$ /other/$1 last; }}
    }}
    location /other/ {{
      alias {root}/files/spoiled/; sub_filter main.main mean.mean; sub_filter_types *; sub_filter_once off;
    }}
    location /led/    {{
      if ($http_user_agent = "gofallback-agent") {{ return 302 http://{address}:{other}$request_uri?X-Sig=canary-sig; }}
    }}
    location /elsewhere/ {{ if ($request_method = PUT) {{ return 307 http://{address}:{other}$request_uri; }} }}
    location ~ ^/away/(.*)$ {{ return 302 http://{address}:{other}/open/$1; }}
  }}
  server {{ listen {address}:{other}; location / {{ }} }}
  server {{
    listen {address}:{tls} ssl; ssl_certificate {root}/cert.pem; ssl_certificate_key {root}/key.pem;
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
    address: str = "127.0.0.1"

    @property
    def files(self) -> Path:
        """Where what was put lies."""
        return self.root / "files"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.address}:{self.port}"

    def log(self) -> str:
        """Every request it has answered, with the credentials that it saw."""
        return (self.root / "access.log").read_text()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nginx(address: str = "127.0.0.1") -> Iterator[Nginx]:
    """nginx as `USER`, with a folder and ports of its own; the machine's nginx is left alone.

    Arguments:
        address: it listens there; a lab's controller is the first of its network.
    """
    root = Path(tempfile.mkdtemp(prefix="gofallback-nginx-"))
    made = Nginx(root, free_port(), free_port(), free_port(), address)
    try:
        (root / "files").mkdir()
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-days", "2", "-subj", f"/CN={address}", "-addext", f"subjectAltName=IP:{address}"),
                *("-keyout", str(root / "key.pem"), "-out", str(root / "cert.pem")),
            ],
            check=True,
            capture_output=True,
        )
        config = root / "nginx.conf"
        ports = {"port": made.port, "other": made.other, "tls": made.tls}
        tokens = {"token": TOKEN, "read_token": READ_TOKEN}
        config.write_text(_NGINX.format(root=root, address=address, **ports, **tokens))
        subprocess.run(["chown", "-R", USER, str(root)], check=True)
        command = [_program(root), "-c", str(config), "-p", str(root), "-e", str(root / "error.log")]
        with process(command, made.port, root / "start.log", user=USER, address=address):
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
def process(
    command: list[str], port: int, log: Path, user: str | None = None, address: str = "127.0.0.1"
) -> Iterator[None]:
    """A server that answers on a port, until the block ends."""
    with log.open("ab") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, user=user, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while not _answers(address, port):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} does not answer: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait(20)


def _answers(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False
