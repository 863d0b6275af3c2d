"""A build job: all platforms of one service at one commit, the toolchains for it, and its commands."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.artifact.spec import BuildSpec
from gofallback.builder.paths import Layout, join, parent, program
from gofallback.builder.shell import Shell, shell_of
from gofallback.controller.sysroot import Sysroot
from gofallback.gobuild.build_failure import Step
from gofallback.gobuild.detached import DetachedJob, job_id
from gofallback.gobuild.environment import go_environment
from gofallback.gobuild.modules import Modules
from gofallback.model.builder import Builder
from gofallback.operations.command import Command
from gofallback.operations.gocmd import Result, run
from gofallback.redact import redact

_MOST_AT_ONCE = 4
"""Builds at the same time unless group data says otherwise: linking a large program takes a gigabyte and more."""


@dataclass(frozen=True)
class Job:
    """All platforms of one service at one commit."""

    specs: tuple[BuildSpec, ...]
    builder: Builder
    goroot: str
    """Folder of the Go toolchain on the builder."""
    git: str
    """Path of git's program there."""
    records: Path
    """Folder on the controller that gets the output of every command."""
    timeout: float = 1800
    """Seconds for one platform."""
    vet: bool = False
    test: bool = False
    fresh: bool = False
    """Build again what is there already: an output of another day proves nothing about the builder today."""
    system_root: str = "C:\\Windows"
    modules: Modules = field(default_factory=Modules)
    resend_modules: Callable[[State, Host], bool] | None = None
    """Where the controller brings the modules; see `gofallback.operations.modules.ModuleResend`."""
    cores: int = 1
    """Of the builder."""
    overlay: str | None = None
    """Path of the overlay with generated code; see `gofallback.operations.generate`."""
    sysroots: Mapping[str, Sysroot] = field(default_factory=dict)
    """By name; those of the specs with C."""
    packed: Path = Path()
    """Folder of packed sysroots on the controller."""

    @property
    def layout(self) -> Layout:
        """Folders of the builder."""
        return Layout(self.builder.root)

    @property
    def at_once(self) -> int:
        """How many binaries are built at the same time."""
        return self.builder.parallel_platforms or min(self.cores, _MOST_AT_ONCE)

    @property
    def shell(self) -> Shell:
        """The builder's shell."""
        return shell_of(self.builder.root)

    @property
    def go(self) -> str:
        """Path of go's program."""
        return program("go", self.goroot)

    def folder(self, spec: BuildSpec) -> str:
        """Folder of the module."""
        tree = self.layout.work(spec.service, spec.commit)
        return tree if spec.directory in (".", "") else join(tree, spec.directory)

    def out(self, spec: BuildSpec) -> str:
        """Folder of the finished output."""
        return self.layout.out(spec.service, spec.key)

    def temporary(self, spec: BuildSpec) -> str:
        """Folder in which the output is made; belongs to this run alone where its job does (`detached_job`)."""
        return join(self.layout.tmp, f"build-{self._identity(spec)[:16]}")

    def _identity(self, spec: BuildSpec) -> str:
        """64 hex digits: equal for two runs that share the build."""
        return hashlib.sha256(f"{spec.key} {self.records}".encode()).hexdigest() if self.fresh else spec.key

    def command(
        self,
        spec: BuildSpec,
        argv: list[str],
        step: Step,
        *,
        before: Sequence[str] = (),
        after: Sequence[str] = (),
        unless: str | None = None,
    ) -> Command:
        """One go command in the module's folder.

        Args:
            spec: the output it is for.
            argv: the command.
            step: what kind of command.
            before: steps in front of it.
            after: steps that follow when it succeeds.
            unless: a path; when something is there the command is skipped.
        """
        shell = self.shell
        line = shell.command(argv)
        if unless:
            line = shell.unless_there(unless, line)
        if after:
            line = shell.then(line, *after)
        what = spec.platform if step == "build" else {"modules": "go mod download"}.get(step, f"go {step}")
        name = [spec.service] if spec.binary == spec.service or step != "build" else [spec.service, spec.binary]
        return Command(
            label=f"{spec.what if step == 'build' else spec.service} {spec.version} {what}",
            line=shell.script([*before, shell.enter(self.folder(spec)), line]),
            environment=self.environment(spec, native=step in ("test", "generate")),
            timeout=self.timeout,
            log=self.records / f"{'-'.join(name)}-{step if step != 'build' else spec.platform.replace('/', '-')}.log",
            root=self.builder.root,
            step=step,
            job=self.detached_job(spec, step),
        )

    def detached_job(self, spec: BuildSpec, step: Step) -> DetachedJob | None:
        """The job of a detached command: one for each output and step, the same for every run; None: attached.

        A service with generated code has none: the code is made in the commit's tree, which every run makes anew. A
        build for a comparison has one of this run alone: another run's build does not show the builder's settings of
        today.
        """
        if not self.builder.detached or spec.generate:
            return None
        product = join(self.temporary(spec), spec.file_name) if step == "build" else ""
        return DetachedJob(job_id(spec.service, step, self._identity(spec)), self.builder.root, self.go, product)

    def environment(self, spec: BuildSpec, *, native: bool = False) -> dict[str, str]:
        """Every variable of a go command; see `gofallback.gobuild.environment.go_environment`."""
        sysroot = self.sysroots.get(spec.cgo.sysroot) if spec.cgo else None
        own = go_environment(
            spec,
            self.builder.root,
            self.goroot,
            parent(self.git),
            builder=self.builder,
            native=native,
            system_root=self.system_root,
            sysroot=self.layout.sysroot(sysroot.digest) if sysroot else "",
            sysroot_folders=sysroot.folders if sysroot else frozenset(),
        )
        return own | dict(self.modules.environment)


def run_with_modules(state: State, host: Host, job: Job, command: Command) -> Result:
    """Run a command of a job. Where the modules that were sent are damaged on the builder, send them again, once."""
    result = run(state, host, command)
    if result.failure is None or job.resend_modules is None or not job.modules.suspects_sent_files(result.failure):
        return result
    host.log_styled(f"{command.label}: {redact(result.failure.cause)}", fg="yellow", log_func=logger.warning)
    return run(state, host, command) if job.resend_modules(state, host) else result
