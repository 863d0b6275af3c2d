"""A Linux builder of the lab with Go and Git unpacked, as pyinfra's host, for tests that bring sources and build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gofallback.builder.paths import Layout
from gofallback.facts.builder import forget
from gofallback.model import Builder, Service
from gofallback.operations.source import Checkout, deliver
from lab import Lab
from lab.linux.builder import LinuxBuilder
from lab.linux.toolchains import GIT_VERSION
from tests.lab.conftest import fresh_name
from tests.lab.pyinfra_host import connected
from tests.lab.windows_builder import GO, Bench

ROOT = "/home/builder/gofallback"


@dataclass
class LinuxBench(Bench):
    """The host and what was said about it."""

    machine: LinuxBuilder  # type: ignore[assignment]
    builder: Builder = field(default_factory=lambda: Builder(os="linux", root=ROOT))

    @property
    def drive(self) -> Path:
        return self.local(ROOT)

    @property
    def git(self) -> str:
        return f"{ROOT}/toolchains/git-{GIT_VERSION}/bin/git"

    @property
    def goroot(self) -> str:
        return f"{ROOT}/toolchains/go{GO}"

    def local(self, path: str) -> Path:
        return self.machine.root / path.lstrip("/")

    def deliver(self, service: Service) -> bool:
        self.messages.lines.clear()
        work = Checkout(self.resolve(service), ROOT, self.git, self.home / "bundles", service.source.delivery)
        return deliver(self.state, self.host, work)


@contextmanager
def linux_bench(home: Path) -> Iterator[LinuxBench]:
    """A lab with one Linux builder, toolchains unpacked, connected."""
    with Lab.up(fresh_name(), targets=0, builders=0, linux_builders=1) as lab:
        machine = lab.host("b1")
        assert isinstance(machine, LinuxBuilder)
        machine.run(f"mkdir -p {' '.join(Layout(ROOT).folders())}")
        _unpack(lab, machine)
        machine.run(f"chown -R builder: {ROOT}")
        with connected(lab, machine) as (state, (host,), messages):
            forget(host)
            yield LinuxBench(lab, machine, state, host, messages, home)


def _unpack(lab: Lab, machine: LinuxBuilder) -> None:
    for tool, version, strip, home in (
        ("go", GO, 1, f"go{GO}"),
        ("git", GIT_VERSION, 0, f"git-{GIT_VERSION}"),
    ):
        archive = Path(lab.file.linux_toolchains[tool][version]["file"])
        (machine.root / "root" / archive.name).write_bytes(archive.read_bytes())
        folder = f"{ROOT}/toolchains/{home}"
        machine.run(f"mkdir {folder} && tar -xf {archive.name} -C {folder} --strip-components={strip}")
        (machine.root / "root" / archive.name).unlink()
