"""Brings a release to a target: whole or not at all. Nothing that runs is touched; `operations.activate` does that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

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
_TELL = 5.0


def put_release(
    state: State,
    host: Host,
    upload: Upload | Callable[[], Upload | None],
    *,
    sudo: bool = True,
    tell: Callable[[str], None] | None = None,
    pushed: Callable[[str], None] | None = None,
) -> bool:
    """Step: upload a release, check it on the target, rename it into place.

    Args:
        state: pyinfra's.
        host: the target; the service's lease is held (`operations.lease`).
        upload: from `release.upload_plan.upload_for`, or a function that makes it when the step runs (the artifact is
            known then); None means that there is nothing to do.
        sudo: `target.sudo`.
        tell: gets the line that says why it failed, for the run's record.
        pushed: what cannot be pulled is pushed, and this gets the line that says why; None: then it failed.

    Returns:
        False after one red line; the target then is as it was.
    """
    wanted = upload() if callable(upload) else upload
    if wanted is None:
        host.noop("the release is there already")
        return True
    wanted = replace(wanted, number=lease.number(host, wanted.files.service))
    forget(host)
    name = f"{wanted.files.service} {wanted.files.id}"
    try:
        problem = _put(state, host, wanted, sudo, pushed)
    except BrokenError as error:
        problem = f"the connection broke during the upload ({error}); nothing that runs was changed, run again"
    except OSError as error:
        problem = f"{error.filename}: cannot be read on the controller ({error.strerror}); nothing was changed"
    if problem:
        host.log_styled(f"release {name}: {problem}", fg="red")
        if tell:
            tell(problem)
    return not problem


def _put(state: State, host: Host, upload: Upload, sudo: bool, pushed: Callable[[str], None] | None) -> str:
    """Why the release is not there; empty: it is."""
    began = time.monotonic()
    upload, lines = _sent(state, host, upload, sudo, pushed)
    if late := parse_fenced(lines):
        return f"{late}; nothing was changed"
    if failed := parse_failure(lines):
        return _explain(host, upload, *failed)
    if "received" not in lines:
        return f"the target's answer was not understood: {(lines or ['nothing'])[-1]}; run again"
    said = [line.partition("\t")[2] for line in lines if line.startswith("verify\t")]
    problems = unit_problems(said, upload.files.units, HARDENING)
    if problems:
        run(state, host, discard_script(upload), sudo=sudo)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return (
            f"systemd-analyze verify refuses {problems[0]}{more}; correct the service's unit data, nothing was changed"
        )
    code, lines = run(state, host, install_script(upload), sudo=sudo)
    if late := parse_fenced(lines):
        run(state, host, discard_script(upload), sudo=sudo)
        return f"{late}; nothing was changed"
    if code:
        return f"could not be renamed into place: {(lines or ['no reason given'])[-1]}"
    took = f"in {time.monotonic() - began:.1f} s"
    if upload.fetched:
        store, size = upload.fetched[0].source.store, sum(one.size for one in upload.fetched)
        took = f"sent, {size / _MB:.1f} MB pulled from {store} {took}"
    host.log(f"release {upload.files.id} uploaded: {upload.sent / _MB:.1f} MB {took}")
    return ""


def _sent(
    state: State, host: Host, upload: Upload, sudo: bool, pushed: Callable[[str], None] | None
) -> tuple[Upload, list[str]]:
    """The upload as it went in the end, and what the target said: all of it is sent where what the target had is
    damaged, and it is pushed where it could not be pulled."""
    lines = _transfer(state, host, upload, sudo)
    failed = None if parse_fenced(lines) else parse_failure(lines)
    if failed and failed[0] == "hash" and any(program.copies for program in (*upload.programs, *upload.extra_files)):
        host.log(f"release {upload.files.id}: what the target had is not what it should be; everything is sent")
        programs, extras = (
            tuple(replace(one, copies=()) for one in of) for of in (upload.programs, upload.extra_files)
        )
        upload = replace(upload, programs=programs, extra_files=extras)
        lines = _transfer(state, host, upload, sudo)
        failed = parse_failure(lines)
    if failed and failed[0] in pull.STORE_FAILURES and pushed:
        why = _explain(host, upload, *failed)
        host.log_styled(f"release {upload.files.id}: {why}; it is pushed instead", fg="yellow")
        pushed(why)
        upload = replace(upload, programs=tuple(replace(program, source=None) for program in upload.programs))
        lines = _transfer(state, host, upload, sudo)
    return upload, lines


def _transfer(state: State, host: Host, upload: Upload, sudo: bool) -> list[str]:
    with closing(TargetCommand(state, host, receive_script(upload), sudo=sudo)) as remote:
        if remote.send(_with_progress(host, upload)):
            if upload.fetched:
                # Its input stays open: its end would tell the agent that nobody wants the file any more.
                remote.send([pull.request_line(upload.fetched)])
            else:
                remote.end_input()
        lines = []
        for line in remote.lines():
            if line is not None:
                lines.append(line)
                _tell(host, upload, line)
        remote.status()
        return lines


def _tell(host: Host, upload: Upload, line: str) -> None:
    """Pass on what the agent says of a download."""
    word, _, rest = line.partition("\t")
    if word == "note":
        host.log(f"release {upload.files.id}: {rest}")
    elif word == "progress":
        done, _, of = rest.partition("\t")
        if done.isdecimal() and of.isdecimal():
            host.log(f"release {upload.files.id}: {int(done) / _MB:.1f} of {int(of) / _MB:.1f} MB pulled")


def _with_progress(host: Host, upload: Upload) -> Iterator[bytes]:
    """The upload's chunks; logs the progress of a slow upload every few seconds."""
    sent, logged = 0, time.monotonic()
    for chunk in archive(upload):
        yield chunk
        sent += len(chunk)
        if time.monotonic() - logged >= _TELL:
            logged = time.monotonic()
            host.log(f"release {upload.files.id}: {sent / _MB:.1f} of {upload.sent / _MB:.1f} MB")


def _explain(host: Host, upload: Upload, kind: str, text: str) -> str:
    if kind in pull.STORE_FAILURES and upload.fetched:
        return pull.failure_message(kind, text, upload.fetched[0].source)
    if kind == "disk":
        return f"the disk is full: {text}; free space on {host.name} and run the same command again"
    if kind == "hash":
        path, _, found = text.rpartition(" ")
        every = (*upload.programs, *upload.extra_files)
        wanted = next((program.sha256 for program in every if program.path == path), "?")
        sums = f"sha256 {found or 'of nothing'} there, {wanted} here"
        return f"{path} changed on the way: {sums}; nothing was changed, run again"
    if kind == "user":
        return f"the system user {upload.user} cannot be created: {text}"
    if kind == "folder":
        return f"a folder cannot be made: {text}"
    return f"{text}; nothing that runs was changed, run again"
