"""A Windows host of the lab with Go and Git unpacked, as pyinfra's host, for tests that bring sources and build."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.builder.paths import Layout
from gofallback.facts.builder import forget
from gofallback.git.resolve import resolve
from gofallback.gobuild import plan
from gofallback.gobuild.result import Built
from gofallback.model import Builder, Service
from gofallback.operations import build as build_operation
from gofallback.operations.job import Job
from gofallback.operations.remote import run_command
from gofallback.operations.source import Checkout, deliver
from gofallback.source.model import ResolvedSource
from lab import Lab
from lab.builders import Builder as LabBuilder
from tests.lab.conftest import fresh_name
from tests.lab.pyinfra_host import Messages, connected

ROOT = "C:\\gofallback"
GO = "1.26.6"


def git(folder: Path, *arguments: str) -> str:
    """git on this machine, with a fixed identity and date, so that commits are the same everywhere."""
    identity = {f"GIT_{who}_{what}": "lab" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    dates = {f"GIT_{who}_DATE": "2026-01-05T09:00:00Z" for who in ("AUTHOR", "COMMITTER")}
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "protocol.file.allow=always", *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", **identity, **dates},
    )
    return done.stdout.strip()


def commit(folder: Path, message: str = "change", **files: str) -> str:
    """Write files (``a__b.go`` is not translated: give paths through `write`) and commit all there is."""
    write(folder, files)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", f"--message={message}")
    return git(folder, "rev-parse", "HEAD")


def write(folder: Path, files: dict[str, str]) -> None:
    """Write text files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())


def repository(folder: Path, files: dict[str, str] | None = None, *, tag: str = "v1.0.0") -> Path:
    """A repository with one tagged commit of a small program, `files` added or in place of its own."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    program = {
        "go.mod": "module example.test/hello\n\ngo 1.26\n",
        "main.go": 'package main\n\nvar version = "none"\n\nfunc main() { println("hello", version) }\n',
    }
    commit(folder, "first", **{**program, **(files or {})})
    git(folder, "tag", tag)
    return folder


@dataclass
class Bench:
    """The host and what was said about it."""

    lab: Lab
    machine: LabBuilder
    state: State
    host: Host
    messages: Messages
    home: Path
    builder: Builder = field(default_factory=lambda: Builder(root=ROOT))

    @property
    def drive(self) -> Path:
        """The builder's root as a folder of this machine."""
        return self.machine.drive_c / "gofallback"

    @property
    def git(self) -> str:
        """git.exe there."""
        return f"{ROOT}\\toolchains\\git-2.45.2\\cmd\\git.exe"

    @property
    def goroot(self) -> str:
        """Go there."""
        return f"{ROOT}\\toolchains\\go{GO}"

    def local(self, path: str) -> Path:
        """A path of the builder as one of this machine."""
        return self.machine.drive_c / path.removeprefix("C:\\").replace("\\", "/")

    def service(self, repo: Path | str, *, source: dict[str, Any] | None = None, **build: Any) -> Service:
        """Group data of a service named after the repository."""
        name = Path(str(repo)).name.removesuffix(".git")
        return Service.model_validate(
            {
                "name": name,
                "source": {"repository": str(repo), **(source or {})},
                "build": build,
                "health": {"check": {"type": "tcp", "address": "127.0.0.1:8080"}},
            }
        )

    def resolve(self, service: Service) -> ResolvedSource:
        """The commit, through this test's own mirrors."""
        return resolve(service, self.home / "mirrors")

    def deliver(self, service: Service) -> bool:
        """Bring the source; every message of it is in `messages`, earlier ones are forgotten."""
        self.messages.lines.clear()
        work = Checkout(self.resolve(service), ROOT, self.git, self.home / "bundles", service.source.delivery)
        return deliver(self.state, self.host, work)

    def job(self, service: Service, platforms: list[str], timeout: float = 900) -> Job:
        """What the build stage would ask for."""
        return Job(
            specs=tuple(plan.specs(service, self.resolve(service), GO, platforms)),
            builder=self.builder,
            goroot=self.goroot,
            git=self.git,
            records=self.home / "records",
            timeout=timeout,
            vet=service.build.vet,
            test=service.build.test,
        )

    def build(self, service: Service, *platforms: str, timeout: float = 900) -> list[Built] | None:
        """Bring the source and build; None when the step failed."""
        assert self.deliver(service), self.messages.text
        self.messages.lines.clear()
        built: list[Built] = []
        job = self.job(service, list(platforms or ("linux/amd64",)), timeout)
        ok = build_operation.build(self.state, self.host, job, built.append)
        return built if ok else None

    def failure(self, service: Service, *platforms: str, timeout: float = 900) -> str:
        """Build what must fail; gives what was said: at most three lines after the retries, cause and remedy in it."""
        assert self.build(service, *platforms, timeout=timeout) is None, self.messages.text
        progress = ("trying again", "passed in", ": building (", ": compiling it, once")
        told = [line for line in self.messages.lines if not any(word in line for word in progress)]
        assert len(told) <= 3, told
        assert "to do:" in told[-2]
        assert Path(told[-1].rpartition("whole output: ")[2]).read_text()
        return "\n".join(told)

    def ask(self, line: str) -> str:
        """A command line on the builder; its stdout."""
        return "\n".join(run_command(self.state, self.host, line).out)

    def git_there(self, tree: str, *arguments: str) -> str:
        """git in a tree of the builder."""
        return self.ask(" ".join([self.git, "-C", tree, *arguments]))


@contextmanager
def windows_bench(home: Path, disk_mb: int = 4000) -> Iterator[Bench]:
    """A lab with one Windows host, toolchains unpacked, connected."""
    with Lab.up(fresh_name(), targets=0, builders=1, builder_disk_mb=disk_mb) as lab:
        machine = lab.host("w1")
        assert isinstance(machine, LabBuilder)
        for folder in Layout("").folders():
            (machine.drive_c / "gofallback" / folder.strip("\\").replace("\\", "/")).mkdir(parents=True, exist_ok=True)
        _unpack(lab, machine.drive_c / "gofallback" / "toolchains")
        with connected(lab, machine) as (state, (host,), messages):
            forget(host)
            yield Bench(lab, machine, state, host, messages, home)


def _unpack(lab: Lab, folder: Path) -> None:
    toolchains = lab.file.toolchains
    with zipfile.ZipFile(toolchains["go"][GO]["file"]) as archive:
        archive.extractall(folder)
    (folder / "go").rename(folder / f"go{GO}")
    with zipfile.ZipFile(toolchains["git"]["2.45.2"]["file"]) as archive:
        archive.extractall(folder / "git-2.45.2")
