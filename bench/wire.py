"""Commands and uploads on one target: the product's connector, bare paramiko and OpenSSH's scp take turns."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from bench.fleet import ROOT, Fleet
from bench.model import BenchError, Figure, Findings, Goal

MB = 1_000_000
SIZES = (20, 100)
REMOTE = "/home/deploy/upload.bin"


def measure(fleet: Fleet, findings: Findings, rounds: int) -> None:
    """Measure single commands and uploads, `rounds` times each. The order alternates from round to round."""
    with ExitStack() as stack:
        product = stack.enter_context(_child(fleet, "product"))
        bare = stack.enter_context(_child(fleet, "paramiko"))
        _commands(findings, product, bare, rounds)
        shared = stack.enter_context(_shared_connection(fleet))
        for size in SIZES:
            _uploads(fleet, findings, size, product, bare, shared, rounds)


class _Child:
    """An SSH client in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def request(self, **order: object) -> list[float]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"{order['do']}: the client ended with {self._process.wait()}")
        seconds: list[float] = json.loads(line)
        return seconds


@contextmanager
def _child(fleet: Fleet, kind: str) -> Iterator[_Child]:
    target = fleet.lab.targets[0].record
    data = {"address": target.address, "user": target.user, "key": str(fleet.lab.file.key)}
    data["known_hosts"] = str(fleet.lab.file.known_hosts)
    command = [sys.executable, "-m", "bench.wire_child", kind, json.dumps(data)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield _Child(process)
        assert process.stdin is not None
        process.stdin.close()


@contextmanager
def _shared_connection(fleet: Fleet) -> Iterator[list[str]]:
    """Open a connection for scp; yield the options that use it."""
    socket = fleet.folder / "scp-socket"
    where = _where(fleet)
    options = [*fleet.ssh_options(), "-o", f"ControlPath={socket}"]
    subprocess.run(["ssh", *options, "-o", "ControlMaster=yes", "-f", "-N", where], check=True)
    yield options
    subprocess.run(["ssh", *options, "-O", "exit", where], check=False, capture_output=True)


def _where(fleet: Fleet) -> str:
    target = fleet.lab.targets[0].record
    return f"{target.user}@{target.address}"


def _commands(findings: Findings, product: _Child, bare: _Child, rounds: int) -> None:
    turns = [("product", product, "true"), ("bare", bare, "true"), ("bare sh", bare, "sh -c true")]
    taken: dict[str, list[float]] = {name: [] for name, _, _ in turns}
    for number in range(max(10, rounds)):
        for name, child, line in turns if number % 2 else reversed(turns):
            taken[name] += child.request(do="commands", line=line, count=20)
    ours = Figure("command", "a command on an open connection", taken["product"], 1)
    peer = Figure("command-paramiko", "the same by bare paramiko, TCP_NODELAY", taken["bare"])
    shell = Figure(
        "command-paramiko-sh", "bare paramiko with the `sh -c` that pyinfra wraps around it", taken["bare sh"]
    )
    findings.figures += [ours, peer, shell]
    findings.goals.append(
        Goal(
            "command",
            "a command on an open connection, more than bare paramiko's",
            (ours.median - peer.median) * 1000,
            1.5,
            "ms",
            f"{ours.median * 1000:.2f} ms against {peer.median * 1000:.2f} ms",
        )
    )


def _uploads(
    fleet: Fleet, findings: Findings, size: int, product: _Child, bare: _Child, shared: list[str], rounds: int
) -> None:
    file = fleet.folder / f"{size}MB.bin"
    if not file.exists():
        file.write_bytes(random.Random(size).randbytes(size * MB))
    files = {"local": str(file), "remote": REMOTE}
    where = f"{_where(fleet)}:{REMOTE}"
    ways: dict[str, tuple[str, Callable[[], float]]] = {
        "open": ("on an open connection", lambda: product.request(do="upload", **files)[0]),
        "open-scp": ("scp on an open connection (ControlPath)", lambda: _scp([*shared, str(file), where])),
        "open-sftp": ("paramiko's SFTP on an open connection", lambda: bare.request(do="upload", **files)[0]),
        "new": ("connecting included", lambda: product.request(do="connect and upload", **files)[0]),
        "new-scp": ("scp, connecting included", lambda: _scp([*fleet.ssh_options(), str(file), where])),
    }
    taken: dict[str, list[float]] = {key: [] for key in ways}
    for number in range(rounds):
        for key in list(ways) if number % 2 else reversed(ways):
            taken[key].append(ways[key][1]())
            _check(fleet, file)
    for key, (what, _) in ways.items():
        findings.figures.append(Figure(f"upload-{size}-{key}", f"upload of {size} MB, {what}", taken[key]))
    for key, what in (("open", "on an open connection"), ("new", "connecting included")):
        ours, scp = median(taken[key]), median(taken[f"{key}-scp"])
        findings.goals.append(
            Goal(
                f"upload-{size}-{key}",
                f"upload of {size} MB, {what}: part of scp's time",
                ours / scp,
                1.0,
                "x",
                f"{ours:.3f} s against {scp:.3f} s",
                strict=True,
            )
        )


def _scp(arguments: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(["scp", "-q", *arguments], check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise BenchError(f"scp: {done.stderr.strip()}")
    return seconds


def _check(fleet: Fleet, file: Path) -> None:
    """Compare the uploaded bytes by SHA-256, then remove the file."""
    target = fleet.lab.targets[0]
    there = target.run(f"sha256sum {REMOTE} && rm {REMOTE}").stdout.split()[0]
    with file.open("rb") as stream:
        if there != hashlib.file_digest(stream, "sha256").hexdigest():
            raise BenchError(f"{file.name}: the received bytes differ from the sent bytes")
