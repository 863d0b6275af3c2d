"""Brings a release to a target, whole or not at all. Nothing that runs is touched: `activate` does that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.facts.target import forget
from gofallback.lease.holder import parse_fenced
from gofallback.model.unit import HARDENING
from gofallback.operations.target import lease
from gofallback.operations.target.channel import BrokenError, TargetCommand, run
from gofallback.release import pull
from gofallback.release.archive import archive
from gofallback.release.upload import Upload
from gofallback.release.upload_script import (
    discard_script,
    install_script,
    parse_failure,
    receive_script,
    unit_problems,
)

_MB = 1_000_000
#: Seconds between two lines about an upload's progress.
_PROGRESS_INTERVAL = 5.0


class _UploadError(Exception):
    """Why the release is not there; one line."""


def put_release(
    state: State,
    host: Host,
    upload: Upload | None,
    *,
    sudo: bool = True,
    report: Callable[[str], None] | None = None,
    on_push: Callable[[str], None] | None = None,
) -> bool:
    """Step: upload a release, check it on the target, rename it into place.

    Args:
        state: pyinfra's.
        host: the target; the service's lease is held (`operations.target.lease`).
        upload: from `release.upload_plan.upload_for`, or a function that makes it when the step runs (the artifact is
            known then); None means that there is nothing to do.
        sudo: `target.sudo`.
        report: gets the line that says why it failed, for the run's record.
        on_push: what cannot be pulled is pushed, and this gets the line that says why; None: then the step fails.

    Returns:
        False after one red line; the target then is as it was.
    """
    if upload is None:
        host.noop("the release is there already")
        return True
    todo = replace(upload, number=lease.number(host, upload.files.service))
    forget(host)
    name = f"{todo.files.service} {todo.files.id}"
    try:
        _Uploader(state, host, sudo, on_push).put(todo)
    except _UploadError as error:
        problem = str(error)
    except BrokenError as error:
        problem = f"the connection broke during the upload ({error}); nothing that runs was changed, run again"
    except OSError as error:
        problem = f"{error.filename}: cannot be read on the controller ({error.strerror}); nothing was changed"
    else:
        return True
    host.log_styled(f"release {name}: {problem}", fg="red")
    if report:
        report(problem)
    return False


@dataclass(frozen=True)
class _Uploader:
    """Uploads to one target. Methods raise `_UploadError`, BrokenError, or OSError for a file of the controller."""

    state: State
    host: Host
    sudo: bool
    on_push: Callable[[str], None] | None

    def put(self, upload: Upload) -> None:
        began = time.monotonic()
        upload, lines = self._send(upload)
        if late := parse_fenced(lines):
            raise _UploadError(f"{late}; nothing was changed")
        if failed := parse_failure(lines):
            raise _UploadError(self._explain(upload, *failed))
        if "received" not in lines:
            raise _UploadError(f"the target's answer was not understood: {(lines or ['nothing'])[-1]}; run again")
        self._check_units(upload, lines)
        self._finish(upload)
        took = f"in {time.monotonic() - began:.1f} s"
        if upload.fetched:
            store, size = upload.fetched[0].source.store, sum(one.size for one in upload.fetched)
            took = f"sent, {size / _MB:.1f} MB pulled from {store} {took}"
        self.host.log(f"release {upload.files.id} uploaded: {upload.sent / _MB:.1f} MB {took}")

    def _check_units(self, upload: Upload, lines: list[str]) -> None:
        verified = [line.partition("\t")[2] for line in lines if line.startswith("verify\t")]
        problems = unit_problems(verified, upload.files.units, HARDENING)
        if problems:
            self._run(discard_script(upload))
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise _UploadError(
                f"systemd-analyze verify refuses {problems[0]}{more}; "
                "correct the service's unit data, nothing was changed"
            )

    def _finish(self, upload: Upload) -> None:
        code, lines = self._run(install_script(upload))
        if late := parse_fenced(lines):
            self._run(discard_script(upload))
            raise _UploadError(f"{late}; nothing was changed")
        if code:
            raise _UploadError(f"could not be renamed into place: {(lines or ['no reason given'])[-1]}")

    def _run(self, script: str) -> tuple[int, list[str]]:
        return run(self.state, self.host, script, sudo=self.sudo)

    def _send(self, upload: Upload) -> tuple[Upload, list[str]]:
        """The upload that was made in the end, and the target's answer.

        Everything is sent where the target's own files are damaged; what cannot be pulled is pushed.
        """
        lines = self._transfer(upload)
        failed = None if parse_fenced(lines) else parse_failure(lines)
        if (
            failed
            and failed[0] == "hash"
            and any(program.copies for program in (*upload.programs, *upload.extra_files))
        ):
            self.host.log(
                f"release {upload.files.id}: what the target had is not what it should be; everything is sent"
            )
            programs, extras = (
                tuple(replace(one, copies=()) for one in of) for of in (upload.programs, upload.extra_files)
            )
            upload = replace(upload, programs=programs, extra_files=extras)
            lines = self._transfer(upload)
            failed = parse_failure(lines)
        if failed and failed[0] in pull.STORE_FAILURES and self.on_push:
            why = self._explain(upload, *failed)
            self.host.log_styled(f"release {upload.files.id}: {why}; it is pushed instead", fg="yellow")
            self.on_push(why)
            upload = replace(upload, programs=tuple(replace(program, source=None) for program in upload.programs))
            lines = self._transfer(upload)
        return upload, lines

    def _transfer(self, upload: Upload) -> list[str]:
        with closing(TargetCommand(self.state, self.host, receive_script(upload), sudo=self.sudo)) as command:
            if command.send(self._with_progress(upload)):
                if upload.fetched:
                    # The input stays open: its end would cancel the agent's download.
                    command.send([pull.request_line(upload.fetched)])
                else:
                    command.end_input()
            lines = []
            for line in command.lines():
                if line is not None:
                    lines.append(line)
                    self._log_download(upload, line)
            command.status()
            return lines

    def _with_progress(self, upload: Upload) -> Iterator[bytes]:
        """The upload's chunks; logs the progress of a slow upload every few seconds."""
        sent, logged = 0, time.monotonic()
        for chunk in archive(upload):
            yield chunk
            sent += len(chunk)
            if time.monotonic() - logged >= _PROGRESS_INTERVAL:
                logged = time.monotonic()
                self.host.log(f"release {upload.files.id}: {sent / _MB:.1f} of {upload.sent / _MB:.1f} MB")

    def _log_download(self, upload: Upload, line: str) -> None:
        """Log what the agent reports of its download."""
        kind, _, rest = line.partition("\t")
        if kind == "note":
            self.host.log(f"release {upload.files.id}: {rest}")
        elif kind == "progress":
            done, _, of = rest.partition("\t")
            if done.isdecimal() and of.isdecimal():
                self.host.log(f"release {upload.files.id}: {int(done) / _MB:.1f} of {int(of) / _MB:.1f} MB pulled")

    def _explain(self, upload: Upload, kind: str, text: str) -> str:
        if kind in pull.STORE_FAILURES and upload.fetched:
            return pull.failure_message(kind, text, upload.fetched[0].source)
        if kind == "disk":
            return f"the disk is full: {text}; free space on {self.host.name} and run the same command again"
        if kind == "hash":
            path, _, found = text.rpartition(" ")
            every = (*upload.programs, *upload.extra_files)
            expected = next((program.sha256 for program in every if program.path == path), "?")
            sums = f"sha256 {found or 'of nothing'} there, {expected} here"
            return f"{path} changed on the way: {sums}; nothing was changed, run again"
        if kind == "user":
            return f"the system user {upload.user} cannot be created: {text}"
        if kind == "folder":
            return f"a folder cannot be made: {text}"
        return f"{text}; nothing that runs was changed, run again"
