"""etcd on the lab's network: Debian's own server, each member in a namespace with an address of its own.

It is part of the lab: `down` ends it too. The package is unpacked into the cache and not installed, because systemd
would start an installed one on this machine.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab import faults, network, requirements
from lab.cache import Report, cache_dir, print_progress, step
from lab.cgroup import HostCgroup
from lab.lab import Lab
from lab.model import LabError
from lab.state import State

CLIENTS, PEERS = 2379, 2380
#: Last octet before the first member's address. Targets start at 11, and there are at most 80.
FIRST = 200


class Member:
    """One etcd server, and its faults."""

    def __init__(self, lab: str, name: str, address: str, folder: Path, command: list[str]) -> None:
        self.lab, self.name, self.address = lab, name, address
        self._folder, self._command = folder, command
        self.cgroup = HostCgroup(lab, name, everywhere=False)

    def start(self) -> None:
        """Start it with the data it had, unless it runs. Return before it answers."""
        if self.cgroup.populated():
            return
        self.cgroup.create()
        enter = network.enter(network.namespace(self.lab, self.name))
        into = ["sh", "-c", 'echo $$ >"$0"; exec "$@"', str(self.cgroup.unified / "cgroup.procs")]
        with (self._folder / "log").open("ab") as log:
            subprocess.run(
                ["setsid", "--fork", *into, *enter, *self._command],
                check=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """Kill it with SIGKILL. `start` continues with its data."""
        self.cgroup.kill()

    def freeze(self) -> None:
        """Stop its processes: the kernel accepts connections, and nothing answers."""
        self.cgroup.freeze()

    def thaw(self) -> None:
        """Continue its processes."""
        self.cgroup.thaw()

    def cut(self) -> None:
        """Pull its network cable."""
        faults.set_link(self.lab, self.name, up=False)

    def uncut(self) -> None:
        """Put the cable back."""
        faults.set_link(self.lab, self.name, up=True)

    def log_end(self) -> str:
        """The last line of its log."""
        return (self._folder / "log").read_text(errors="replace").strip().rpartition("\n")[2]


class Etcd:
    """A cluster on a lab's network."""

    def __init__(self, members: list[Member], ca: Path | None) -> None:
        self.members = members
        self.ca = ca
        """Authority of its certificates, or None for plain HTTP."""
        self._token = ""

    @classmethod
    def start(cls, lab: Lab, members: int = 1, *, tls: bool = False, report: Report = print_progress) -> Etcd:
        """Start a new cluster of `members`; return when it answers. It ends with the lab."""
        program = ensure(report)
        folder = State(lab.name).dir / "etcd"
        names = {f"e{index}": f"{lab.file.prefix}{FIRST + index}" for index in range(1, members + 1)}
        folder.mkdir(parents=True)
        ca = _certificates(folder, names) if tls else None
        made = []
        with step(f"lab {lab.name}: etcd {' '.join(names)}", report):
            for name, address in names.items():
                network.add_host_netns(lab.name, name, address)
                (folder / name).mkdir(exist_ok=True)
                command = [str(program), *_flags(folder / name, name, names, tls)]
                made.append(Member(lab.name, name, address, folder / name, command))
                made[-1].start()
            cluster = cls(made, ca)
            cluster.wait_up()
        return cluster

    def url(self, login: str = "") -> str:
        """The value for `rollout.lease`; ``login`` is such as ``user:password@``."""
        places = ",".join(f"{member.address}:{CLIENTS}" for member in self.members)
        return f"etcds://{login}{places}?ca={self.ca}" if self.ca else f"etcd://{login}{places}"

    def wait_up(self, timeout: float = 20.0) -> None:
        """Wait until it answers. LabError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.request("kv/range", {"key": base64.b64encode(b"x").decode()})
            except (OSError, LabError):
                if time.monotonic() > deadline:
                    logs = "; ".join(member.log_end() for member in self.members)
                    raise LabError(f"etcd: no answer after {timeout:.0f} s; its log ends: {logs}") from None
                time.sleep(0.1)
            else:
                return

    def require_login(self, user: str, password: str) -> None:
        """Turn logins on: only this user may write below /gofallback/, and root everywhere."""
        for name in ("root", user):
            self.request("auth/user/add", {"name": name, "password": password})
        keys = {
            "key": base64.b64encode(b"/gofallback/").decode(),
            "range_end": base64.b64encode(b"/gofallback0").decode(),
        }
        self.request("auth/role/add", {"name": "root"})
        self.request("auth/role/add", {"name": "leases"})
        self.request("auth/role/grant", {"name": "leases", "perm": {"permType": "READWRITE", **keys}})
        for name, role in (("root", "root"), (user, "leases")):
            self.request("auth/user/grant", {"user": name, "role": role})
        self.request("auth/enable", {})
        self._token = self.request("auth/authenticate", {"name": "root", "password": password})["token"]

    def contents(self) -> dict[str, str]:
        """Every key below /gofallback/, with its value."""
        span = {
            "key": base64.b64encode(b"/gofallback/").decode(),
            "range_end": base64.b64encode(b"/gofallback0").decode(),
        }
        rows = self.request("kv/range", span).get("kvs", [])
        return {base64.b64decode(row["key"]).decode(): base64.b64decode(row["value"]).decode() for row in rows}

    def request(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request to the first member's HTTP gateway. LabError with etcd's message, OSError without a reply."""
        scheme = "https" if self.ca else "http"
        url = f"{scheme}://{self.members[0].address}:{CLIENTS}/v3/{path}"
        headers = {"Authorization": self._token} if self._token else {}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        context = ssl.create_default_context(cafile=str(self.ca)) if self.ca else None
        try:
            with urllib.request.urlopen(request, timeout=5, context=context) as reply:
                found: dict[str, Any] = json.loads(reply.read())
                return found
        except urllib.error.HTTPError as error:
            raise LabError(f"etcd: {path}: {error.read().decode(errors='replace').strip()}") from None


def ensure(report: Report = print_progress) -> Path:
    """Unpack etcd from Debian's `etcd-server` into the cache if it is missing; return the program."""
    folder = cache_dir() / "trees" / "etcd"
    program = folder / "usr" / "bin" / "etcd"
    if program.exists():
        return program
    downloads = cache_dir() / "downloads" / "etcd"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir(parents=True)
    with step("etcd (apt-get download etcd-server)", report):
        requirements.download_package("etcd-server", downloads)
        part = folder.with_name(f".{folder.name}-{time.monotonic_ns()}")
        subprocess.run(["dpkg-deb", "-x", str(next(downloads.glob("*.deb"))), str(part)], check=True)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    return program


def _flags(folder: Path, name: str, names: Mapping[str, str], tls: bool) -> list[str]:
    clients = f"{'https' if tls else 'http'}://{names[name]}:{CLIENTS}"
    peers = f"http://{names[name]}:{PEERS}"
    flags = {
        "name": name,
        "data-dir": folder / "data",
        "listen-client-urls": clients,
        "advertise-client-urls": clients,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": ",".join(f"{one}=http://{address}:{PEERS}" for one, address in names.items()),
        # A member dies by SIGKILL, never with the machine: without fsync its data is safe, and a busy disk no problem.
        "unsafe-no-fsync": "true",
    }
    if tls:
        flags |= {"cert-file": folder.parent / f"{name}.pem", "key-file": folder.parent / f"{name}.key"}
    return [f"--{key}={value}" for key, value in flags.items()]


def _certificates(folder: Path, names: Mapping[str, str]) -> Path:
    """Make an authority of the lab's own, and a certificate for each member; return the authority's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab etcd")])
    usage = x509.BasicConstraints(ca=True, path_length=0)
    ca = _signed(authority, authority, key, key, x509.Extension(usage.oid, True, usage))
    path = folder / "ca.pem"
    path.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for name, address in names.items():
        own = ec.generate_private_key(ec.SECP256R1())
        names_of = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = _signed(subject, authority, own, key, x509.Extension(names_of.oid, False, names_of))
        (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private = folder / f"{name}.key"
        private.touch(mode=0o600)
        forms = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.write_bytes(own.private_bytes(serialization.Encoding.PEM, *forms))
    return path


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    extension: x509.Extension[Any],
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=30))
    return builder.add_extension(extension.value, extension.critical).sign(by, hashes.SHA256())
