"""``go generate`` on a builder: run in the tree, what it made is taken out, and the tree is the commit's again.

What it made is compiled as an overlay (`gofallback.build.generated`). Interrupted anywhere, the tree is dirty, so that
the next run makes a new one (`gofallback.operations.source`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.artifact.spec import BuildSpec
from gofallback.builder.paths import join
from gofallback.gobuild import generated, plan
from gofallback.gobuild.generated import Changes, GeneratedError
from gofallback.operations.gocmd import Command, Result, explain, run
from gofallback.operations.job import Job, run_with_modules
from gofallback.operations.remote import fail, run_command, send

_FILES, _INDEX, _OVERLAY = "files", "index", "overlay.json"


@contextmanager
def generated_code(state: State, host: Host, job: Job, spec: BuildSpec) -> Iterator[Job | None]:
    """Run ``go generate`` and give the job with the overlay that has what it made; the folder goes at the end.

    Args:
        state: pyinfra's.
        host: the builder; it has the modules.
        job: whose binaries are built.
        spec: one of them; they have ``generate`` in common.

    Yields:
        The job as it was where nothing is generated, or nothing came of it; None after one line that says what failed.
    """
    if not spec.generate:
        yield job
        return
    folder = join(job.layout.tmp, generated.folder_name(spec))
    try:
        yield _generate(state, host, job, spec, folder)
    finally:
        run_command(
            state, host, job.shell.remove(folder)
        )  # what stays after a broken connection goes before the next time


def _generate(state: State, host: Host, job: Job, spec: BuildSpec, folder: str) -> Job | None:
    tree = job.layout.work(spec.service, spec.commit)
    command = job.command(spec, plan.generate_argv(spec, job.go, job.modules.flags), "generate")
    made = run_with_modules(state, host, job, command)
    changes, trouble = Changes(), ""
    if made.failure is None:
        changes, trouble = _taken(_git(state, host, job, command, _take(job, tree, folder), _INDEX, folder))
    back = _put_back(_git(state, host, job, command, _restore(job, tree)))
    if made.failure is not None:
        explain(host, command, job.modules.with_remedy(made.failure))
        return None
    if trouble or back:
        fail(host, f"{command.label}: {trouble or back}")
        return None
    host.log(f"{command.label}: passed in {made.seconds:.1f} s: {changes.line()}")
    if not changes:
        return job
    there: Mapping[str, str | None] = {
        **{join(tree, path): join(folder, _FILES, path) for path in changes.written},
        **{join(tree, path): None for path in changes.removed},
    }
    overlay = join(folder, _OVERLAY)
    problem = _sent(state, host, job, generated.overlay(there), overlay)
    if problem:
        fail(host, f"{command.label}: {_OVERLAY}: {problem}")
        return None
    return replace(job, overlay=overlay)


def _take(job: Job, tree: str, folder: str) -> list[str]:
    """Steps: an index of everything in the tree, what in it is not the commit's, and those files beside the tree."""
    shell, git = job.shell, _GitLine(job, tree)
    prefix = join(folder, _FILES).replace("\\", "/") + "/"
    out = git("checkout-index", "--stdin", "--force", f"--prefix={prefix}")
    named = git("diff", "--cached", "--name-only", "--no-renames", "--diff-filter=AMT", "HEAD")
    return [
        shell.remove(folder),
        shell.make(folder),
        shell.or_end(git("read-tree", "HEAD"), "git read-tree"),
        shell.or_end(git("add", "--all", "--force", "."), "git add"),
        shell.say(generated.CHANGED),
        shell.or_end(git("diff", "--cached", "--name-status", "--no-renames", "HEAD"), "git diff"),
        shell.say(generated.END),
        shell.or_end(f"{named} | {out}", "git checkout-index"),
    ]


def _restore(job: Job, tree: str) -> list[str]:
    """Steps: the tree as it was checked out, and proof of it."""
    shell, git = job.shell, _GitLine(job, tree)
    return [
        shell.or_end(git("reset", "--quiet", "--hard", "HEAD"), "git reset"),
        shell.or_end(git("clean", "-ffdxq"), "git clean"),
        shell.or_end(git("status", "--porcelain", "--untracked-files=all", "--ignored"), "git status"),
        shell.say(generated.CLEAN),
    ]


class _GitLine:
    """Command lines of git in a tree."""

    def __init__(self, job: Job, tree: str) -> None:
        self._job, self._tree = job, tree

    def __call__(self, *arguments: str) -> str:
        return self._job.shell.command([self._job.git, "-C", self._tree, *arguments])


def _git(
    state: State, host: Host, job: Job, about: Command, steps: list[str], index: str = "", folder: str = ""
) -> Result:
    environment = dict(about.environment)
    if index:  # the tree's own index stays as it is
        environment["GIT_INDEX_FILE"] = join(folder, index)
    return run(state, host, replace(about, line=job.shell.script(steps), environment=environment))


def _taken(result: Result) -> tuple[Changes, str]:
    """What was made, or why that cannot be told."""
    if result.failure is not None:
        return Changes(), f"git cannot tell what it made: {result.failure.cause}"
    try:
        return generated.read_changes(result.out), ""
    except GeneratedError as error:
        return Changes(), str(error)


def _put_back(result: Result) -> str:
    """Why the tree is not the commit's again; empty when it is."""
    if result.failure is not None:
        return f"git cannot put the tree back: {result.failure.cause}; run again: a new tree is made then"
    try:
        left = generated.first_unrestored(result.out)
    except GeneratedError as error:
        return str(error)
    return (
        f"changes what git cannot put back ({left.strip()}); a generator must not write into a submodule"
        if left
        else ""
    )


def _sent(state: State, host: Host, job: Job, text: str, remote: str) -> str:
    local = job.records / "overlay.json"
    try:
        job.records.mkdir(parents=True, exist_ok=True)
        local.write_bytes(text.encode())
        return send(state, host, local, remote) or ""
    except OSError as error:
        return f"{local}: {error.strerror}"
