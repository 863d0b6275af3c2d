"""Real git servers: of Go modules, over https with a password (`git http-backend`), with a CA of their own; and git's
own daemon.

Nothing of this machine is changed for their names: a CONNECT proxy on the loopback leads every name to the server, as
HTTPS_PROXY does in many companies, and go and git check the certificate against the CA as they always do.
"""

from __future__ import annotations

import base64
import datetime
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab import Lab
from tests.lab.programs import go
from tests.lab.windows_builder import commit, git, write

HOST = "code.example.test"


@dataclass
class GitServer:
    """Repositories below a folder, module paths ``code.example.test/<name>``."""

    folder: Path
    user: str
    password: str
    ca: Path
    go: Path
    """Of a developer who uses it."""
    proxy: str = ""
    """Of the CONNECT proxy."""
    requests: list[str] = field(default_factory=list)
    """Method and path of every request."""
    down: bool = False
    """Connections are refused in the middle, as by a machine that is gone."""

    def environment(self) -> dict[str, str]:
        """What a process needs to reach it: as on a machine behind a proxy with a private CA."""
        return {
            "HTTPS_PROXY": self.proxy,
            "https_proxy": self.proxy,
            "SSL_CERT_FILE": str(self.ca),
            "GIT_SSL_CAINFO": str(self.ca),
        }

    def login(self, home: Path, password: str | None = None) -> dict[str, str]:
        """A home folder whose .netrc has the password, as go and git read it; gives the environment that names it."""
        home.mkdir(parents=True, exist_ok=True)
        (home / ".netrc").write_text(f"machine {HOST} login {self.user} password {password or self.password}\n")
        return {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}

    def tidy(self, repo: Path) -> None:
        """``go mod tidy`` in a working tree, as a developer with the password does it, and a commit of what it made."""
        own = {"PATH": os.environ["PATH"], **self.environment(), **self.login(self.folder / "developer")}
        cache = {"GOMODCACHE": str(self.folder / "gomodcache"), "GOCACHE": str(self.folder / "gocache")}
        settings = {"GOPRIVATE": f"{HOST}/*", "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw"}
        folders = [path.parent for path in repo.rglob("go.mod")]
        for folder in folders:
            subprocess.run(
                [str(self.go), "mod", "tidy"],
                cwd=folder,
                env={**own, **cache, **settings},
                check=True,
                capture_output=True,
            )
        commit(repo)
        self.requests.clear()

    def publish(self, name: str, version: str, files: dict[str, str]) -> str:
        """Put one version of the module ``code.example.test/<name>`` on the server; gives its path."""
        work, bare = self.folder / "work" / name, self.folder / "bare" / name
        path = f"{HOST}/{name}"
        if not bare.exists():
            for place, options in ((work, []), (bare, ["--bare"])):
                place.mkdir(parents=True)
                git(place, "init", "--quiet", "--initial-branch=main", *options)
        write(work, {"go.mod": f"module {path}\n\ngo 1.21\n", **files})
        git(work, "add", "--all")
        git(work, "commit", "--quiet", "--allow-empty", f"--message={version}")
        git(work, "tag", "--force", version)
        git(work, "push", "--quiet", "--force", "--tags", str(bare), "main")
        return path


def _handler(server: GitServer) -> type[BaseHTTPRequestHandler]:
    wanted = "Basic " + base64.b64encode(f"{server.user}:{server.password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            server.requests.append(f"{self.command} {self.path}")
            if self.headers.get("Authorization") != wanted:
                self._answer(401, b"login", {"WWW-Authenticate": 'Basic realm="git"'})
            elif query == "go-get=1":
                name = path.strip("/")
                text = f'<meta name="go-import" content="{HOST}/{name} git https://{HOST}/{name}">'
                self._answer(200 if (server.folder / "bare" / name).exists() else 404, text.encode(), {})
            else:
                self._backend(path, query)

        def do_POST(self) -> None:
            self.do_GET()

        def _backend(self, path: str, query: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            environment = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(server.folder / "bare"),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
                "REMOTE_USER": server.user,
                "REMOTE_ADDR": "127.0.0.1",
            }
            done = subprocess.run(
                ["git", "http-backend"], input=body, capture_output=True, env=environment, check=False
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
            self._answer(int(headers.pop("Status", "200").split()[0]), content, headers)

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler


def _connect_proxy(server: GitServer, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            if server.down or urlsplit(f"//{self.path}").hostname != HOST:
                self.send_error(502, "no route")
                return
            with socket.create_connection(("127.0.0.1", port)) as far:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_pour, args=(far, self.connection), daemon=True)
                back.start()
                _pour(self.connection, far)
                back.join()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler


def _pour(source: socket.socket, drain: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            drain.sendall(data)
        drain.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def git_server(folder: Path, user: str = "builds", password: str = "s3cret-of-the-lab") -> Iterator[GitServer]:
    """A git server over https on the loopback, for as long as the context lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    ca, chain = _certificates(folder)
    server = GitServer(folder, user, password, ca, go())
    https = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    https.socket = context.wrap_socket(https.socket, server_side=True, do_handshake_on_connect=False)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _connect_proxy(server, https.server_address[1]))
    server.proxy = f"http://127.0.0.1:{proxy.server_address[1]}"
    threads = [threading.Thread(target=one.serve_forever, daemon=True) for one in (https, proxy)]
    for thread in threads:
        thread.start()
    try:
        yield server
    finally:
        for one in (https, proxy):
            one.shutdown()
            one.server_close()


def _certificates(folder: Path) -> tuple[Path, Path]:
    """A CA, and a server's key and certificate for `HOST` that it signed: paths of ca.pem and server.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)

    def signed(name: str, issuer: str, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer)]
        builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=2)).add_extension(extension, critical=True)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    own = ec.generate_private_key(ec.SECP256R1())
    ca, chain = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(signed("lab git CA", "lab git CA", key.public_key(), x509.BasicConstraints(True, 0)))
    text = own.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(
        text + signed(HOST, "lab git CA", own.public_key(), x509.SubjectAlternativeName([x509.DNSName(HOST)]))
    )
    return ca, chain


@contextmanager
def served(lab: Lab, folder: Path) -> Iterator[str]:
    """The repositories of a folder by git's own protocol, reachable from the lab's builders; gives the URL."""
    address = f"{lab.file.prefix}1"
    with socket.create_server((address, 0)) as free:
        port = free.getsockname()[1]
    words = ["git", "daemon", "--reuseaddr", f"--listen={address}", f"--port={port}", "--export-all"]
    daemon = subprocess.Popen([*words, f"--base-path={folder}", str(folder)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex((address, port)) == 0:
                    break
            time.sleep(0.05)
        yield f"git://{address}:{port}"
    finally:
        daemon.terminate()
        daemon.wait()
