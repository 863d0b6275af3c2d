"""S3 on loopback for the tests of publishing: OpenStack Swift, and moto."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import requests
from botocore.config import Config

from tests.lab.stores import USER, free_port, process


@dataclass(frozen=True)
class Endpoint:
    """A store that speaks S3."""

    port: int
    access: str
    secret: str
    sums: bool
    """It tells the SHA-256 it was given."""
    address: str = "127.0.0.1"
    container: int = 0
    """Port of Swift's container server."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.address}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Credentials, where AWS's tools look for them first."""
        keys = {"AWS_ACCESS_KEY_ID": self.access, "AWS_SECRET_ACCESS_KEY": self.secret}
        return {**keys, "AWS_EC2_METADATA_DISABLED": "true"}

    def client(self) -> Any:
        """A client of one's own, to make buckets and to look into them."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.access,
            aws_secret_access_key=self.secret,
            config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
        )


def moto(folder: Path, address: str = "127.0.0.1") -> Iterator[Endpoint]:
    """moto's server: S3's requests, sums and parts in memory; it checks neither signatures nor the sums it is told."""
    made = Endpoint(free_port(), "lab", "lab-s3cret-key", sums=True, address=address)
    command = [sys.executable, "-m", "moto.server", "-H", address, "-p", str(made.port)]
    with process(command, made.port, folder / "moto.log", address=address):
        yield made


_SUFFIX = "lab"
_SWIFT_CONF = f"""\
[swift-hash]
swift_hash_path_suffix = {_SUFFIX}
[storage-policy:0]
name = only
default = yes
"""
_SWIFT_SERVER = """\
[DEFAULT]
bind_ip = {address}
bind_port = {port}
workers = 0
user = {user}
swift_dir = {root}
devices = {root}/devices
mount_check = false
[pipeline:main]
pipeline = {pipeline}
[app:{app}]
use = egg:swift#{kind}
"""
_SWIFT_PROXY = """\
allow_account_management = true
account_autocreate = true
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:s3api]
use = egg:swift#s3api
[filter:tempauth]
use = egg:swift#tempauth
user_lab_ci = lab-s3cret-key .admin
[filter:container_quotas]
use = egg:swift#container_quotas
[filter:slo]
use = egg:swift#slo
"""
_PIPELINE = "cache s3api tempauth container_quotas slo proxy-server"


def swift(address: str = "127.0.0.1") -> Iterator[Endpoint]:
    """OpenStack Swift, one server of each kind: objects in files; it checks signatures, and sums, but tells none."""
    root = Path(tempfile.mkdtemp(prefix="gofallback-swift-"))
    programs = Path(sys.executable).parent
    kinds = ("account", "container", "object", "proxy")
    ports = {kind: free_port() for kind in kinds}
    try:
        (root / "devices" / "d1").mkdir(parents=True)
        (root / "swift.conf").write_text(_SWIFT_CONF)
        for kind in kinds:
            if kind != "proxy":
                _ring(programs / "swift-ring-builder", root / f"{kind}.builder", ports[kind])
            text = _SWIFT_SERVER.format(
                port=ports[kind],
                address=address if kind == "proxy" else "127.0.0.1",
                user=USER,
                root=root,
                pipeline=_PIPELINE if kind == "proxy" else f"{kind}-server",
                app=f"{kind}-server",
                kind=kind,
            )
            (root / f"{kind}.conf").write_text(text + (_SWIFT_PROXY if kind == "proxy" else ""))
        subprocess.run(["chown", "-R", USER, str(root)], check=True)
        with contextlib.ExitStack() as running:
            for kind in kinds:
                command = [str(programs / f"swift-{kind}-server"), str(root / f"{kind}.conf"), "-v"]
                where = address if kind == "proxy" else "127.0.0.1"
                running.enter_context(process(command, ports[kind], root / f"{kind}.log", address=where))
            yield Endpoint(
                ports["proxy"], "lab:ci", "lab-s3cret-key", sums=False, address=address, container=ports["container"]
            )
    finally:
        shutil.rmtree(root, ignore_errors=True)


def limit_bucket(s3: Endpoint, bucket: str, size: int) -> None:
    """Let a bucket of Swift take so many bytes and no more.

    Told to the container server itself: the proxy's own login keeps its tokens in a memcached, and none runs here.
    """
    # swift.common.ring: the first bits of the path's hash; `_ring` makes 2**4 partitions, all on d1
    digest = hashlib.md5(f"/AUTH_lab/{bucket}{_SUFFIX}".encode(), usedforsecurity=False).digest()
    place = f"http://127.0.0.1:{s3.container}/d1/{digest[0] >> 4}/AUTH_lab/{bucket}"
    headers = {"X-Timestamp": f"{time.time():016.5f}", "X-Container-Meta-Quota-Bytes": str(size)}
    requests.post(place, headers=headers, timeout=10).raise_for_status()


def _ring(program: Path, file: Path, port: int) -> None:
    """One copy on one device, 16 partitions."""
    for step in (["create", "4", "1", "0"], ["add", f"r1z1-127.0.0.1:{port}/d1", "1"], ["rebalance"]):
        # It ends with 1 for a warning: one device cannot be balanced over.
        done = subprocess.run([str(program), str(file), *step], capture_output=True, text=True, check=False)
        if done.returncode > 1:
            raise RuntimeError(f"{program.name} {' '.join(step)}: {done.stdout}{done.stderr}")
