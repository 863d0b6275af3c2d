"""``go generate`` on a builder: run in the tree, its results are taken out, and the tree is the commit's again.

The results are compiled as an overlay (`gofallback.gobuild.generated`). An interruption leaves the tree dirty, and the
next run makes a new one (`gofallback.operations.source`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.artifact.spec import BuildSpec
from gofallback.builder.paths import join
from gofallback.connectors.local import TransferError
from gofallback.gobuild import generated, plan
from gofallback.gobuild.generated import Changes, GeneratedError
from gofallback.operations.command import Command
from gofallback.operations.gocmd import Result, explain, run
from gofallback.operations.job import Job, run_with_modules
from gofallback.operations.remote import fail, run_command, send

_FILES, _INDEX, _OVERLAY = "files", "index", "overlay.json"


@contextmanager
def generated_code(state: State, host: Host, job: Job, spec: BuildSpec) -> Iterator[Job | None]:
    """Run ``go generate`` and give the job with the overlay of its results; the folder of the results goes at the end.

    Args:
        state: pyinfra's.
        host: the builder; it has the modules.
        job: whose binaries are built.
        spec: any of them; ``generate`` is the same in all.

    Yields:
        The unchanged job where nothing is generated, or nothing changed; None after one line that says what failed.
    """
    if not spec.generate:
        yield job
        return
    folder = join(job.layout.tmp, generated.folder_name(spec))
    try:
        yield _generate(state, host, job, spec, folder)
    finally:
        # Left behind by a broken connection, the folder is removed before the next time.
        run_command(state, host, job.shell.remove(folder))


def _generate(state: State, host: Host, job: Job, spec: BuildSpec, folder: str) -> Job | None:
    command = job.command(spec, plan.generate_argv(spec, job.go, job.modules.flags), "generate")
    made = run_with_modules(state, host, job, command)
    tree = _Tree(state, host, job, command, job.layout.work(spec.service, spec.commit), folder)
    changes, problems = Changes(), []
    if made.failure is None:
        try:
            changes = tree.take_changes()
        except GeneratedError as error:
            problems.append(str(error))
    try:
        tree.restore()
    except GeneratedError as error:
        problems.append(str(error))
    if made.failure is not None:
        explain(host, command, job.modules.with_remedy(made.failure))
        return None
    try:
        if not problems and changes:
            job = tree.with_overlay(changes)
    except TransferError as error:
        problems.append(f"{_OVERLAY}: {error}")
    if problems:
        fail(host, f"{command.label}: {problems[0]}")
        return None
    host.log(f"{command.label}: passed in {made.seconds:.1f} s: {changes.line()}")
    return job


@dataclass(frozen=True)
class _Tree:
    """The tree of a commit after ``go generate``."""

    state: State
    host: Host
    job: Job
    command: Command
    """The one that ran go generate."""
    path: str
    folder: str
    """For the generated files."""

    def take_changes(self) -> Changes:
        """Put an index of the tree and every generated file beside the tree, and read what differs from the commit.

        Raises:
            GeneratedError: the differences are not known.
        """
        shell, git = self.job.shell, self._git
        prefix = join(self.folder, _FILES).replace("\\", "/") + "/"
        out = git("checkout-index", "--stdin", "--force", f"--prefix={prefix}")
        names = git("diff", "--cached", "--name-only", "--no-renames", "--diff-filter=AMT", "HEAD")
        steps = [
            shell.remove(self.folder),
            shell.make(self.folder),
            shell.or_exit(git("read-tree", "HEAD"), "git read-tree"),
            shell.or_exit(git("add", "--all", "--force", "."), "git add"),
            shell.echo(generated.CHANGED),
            shell.or_exit(git("diff", "--cached", "--name-status", "--no-renames", "HEAD"), "git diff"),
            shell.echo(generated.END),
            shell.or_exit(f"{names} | {out}", "git checkout-index"),
        ]
        result = self._run(steps, {"GIT_INDEX_FILE": join(self.folder, _INDEX)})  # the tree's own index stays
        if result.failure is not None:
            raise GeneratedError(f"git cannot tell what it made: {result.failure.cause}")
        return generated.read_changes(result.out)

    def restore(self) -> None:
        """Make the tree the commit's again.

        Raises:
            GeneratedError: it is not.
        """
        shell, git = self.job.shell, self._git
        steps = [
            shell.or_exit(git("reset", "--quiet", "--hard", "HEAD"), "git reset"),
            shell.or_exit(git("clean", "-ffdxq"), "git clean"),
            shell.or_exit(git("status", "--porcelain", "--untracked-files=all", "--ignored"), "git status"),
            shell.echo(generated.CLEAN),
        ]
        result = self._run(steps, {})
        if result.failure is not None:
            raise GeneratedError(
                f"git cannot put the tree back: {result.failure.cause}; run again: a new tree is made then"
            )
        left = generated.first_unrestored(result.out)
        if left:
            raise GeneratedError(
                f"changes what git cannot put back ({left.strip()}); a generator must not write into a submodule"
            )

    def with_overlay(self, changes: Changes) -> Job:
        """The job that builds with the generated files.

        Raises:
            TransferError: the overlay cannot be sent.
        """
        paths: dict[str, str | None] = {
            join(self.path, name): join(self.folder, _FILES, name) for name in changes.written
        }
        paths |= {join(self.path, name): None for name in changes.removed}
        local, remote = self.job.records / _OVERLAY, join(self.folder, _OVERLAY)
        try:
            self.job.records.mkdir(parents=True, exist_ok=True)
            local.write_bytes(generated.overlay(paths).encode())
        except OSError as error:
            raise TransferError(f"{local}: {error.strerror}") from None
        send(self.state, self.host, local, remote)
        return replace(self.job, overlay=remote)

    def _git(self, *arguments: str) -> str:
        return self.job.shell.command([self.job.git, "-C", self.path, *arguments])

    def _run(self, steps: list[str], environment: dict[str, str]) -> Result:
        line, environment = self.job.shell.script(steps), {**self.command.environment, **environment}
        return run(self.state, self.host, replace(self.command, line=line, environment=environment))
