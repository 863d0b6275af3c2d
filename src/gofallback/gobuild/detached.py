"""The protocol of the keeper on a builder (``src/gofallback/keeper``): requests to it and its answers. Pure.

A detached command outlives its connection, and whoever requests the same job again follows the one that runs. See
docs/detached-builds.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

KEEPER = "gofallback-keeper"
"""Name of the keeper: of its sources' folder on a builder, and of its program."""
#: Exit codes of the keeper and of the line that starts it (src/gofallback/keeper/main.go).
ATTACHED, MISSING = 71, 72
_HEAD = re.compile(rb"([hoex]) (?:(\d+) )?(\d+)\n")
_LONGEST_HEAD = 64
_ID = re.compile(r"[^A-Za-z0-9_-]+")

How = Literal["exit", "timeout", "cancelled", "failed", "dead"]


@dataclass(frozen=True)
class DetachedJob:
    """What identifies a detached command, and what its keeper needs."""

    id: str
    """Equal for equal work: a second controller finds the first one's job by it. See `job_id`."""
    root: str
    """Of the builder."""
    go: str
    """Path of the Go program there, which compiles the keeper."""
    product: str = ""
    """File that the command makes: without it, a job that ended well but was reported to nobody is run again."""


def job_id(service: str, step: str, key: str) -> str:
    """The name of a job: service, step, and the first digits of the build's key (`BuildSpec.key`)."""
    return f"{_ID.sub('-', service)[:40].strip('-') or 'job'}-{_ID.sub('-', step)[:20]}-{key[:24]}"


def keeper_name(digest: str) -> str:
    """Folder of the compiled keeper below ``tools``: one for each version of its sources."""
    return f"keeper-{digest[:16]}"


def request(
    line: str,
    environment: Mapping[str, str],
    timeout: float,
    *,
    label: str,
    product: str = "",
    stdin: bytes = b"",
    secrets: Iterable[str] = (),
) -> bytes:
    """A job, for the keeper's standard input; no part of it is written to the builder's disk.

    Args:
        line: command line for cmd.exe or sh.
        environment: laid over the login's own; an empty value removes a variable.
        timeout: seconds; the keeper ends the whole process tree then, connected or not.
        label: for lists.
        product: see `DetachedJob.product`.
        stdin: the command's standard input.
        secrets: masked where the command prints them.
    """
    records: list[tuple[str, bytes]] = [("line", line.encode()), ("timeout", f"{timeout:g}".encode())]
    records += [("label", label.encode()), ("product", product.encode())]
    records += [("environment", f"{name}={value}".encode()) for name, value in environment.items()]
    records += [("secret", value.encode()) for value in secrets]
    if stdin:
        records.append(("input", stdin))
    return b"".join(f"{name} {len(value)}\n".encode() + value + b"\n" for name, value in records)


@dataclass(frozen=True)
class JobState:
    """The state of a job, as its builder reports it."""

    instance: str
    """Which start of the job: process id and creation time of its watcher."""
    how: str
    """How it ended; empty while it runs."""
    code: int
    """Exit code of the command, unsigned."""
    seconds: float
    """How long the command ran, by the builder's clock; 0 while it runs."""
    reason: str = ""
    way: str = ""
    """What the keeper did: ``started`` the job, ``joined`` one that runs, ``taken`` the result of an ended one."""
    first_report: bool = True
    """False: another follower of the job got the report of its end before."""


@dataclass(frozen=True)
class DetachedResult:
    """How a detached command ended."""

    lines: tuple[tuple[str, str], ...]
    """Stream (``stdout``, ``stderr``) and line."""
    state: JobState | None
    """None: it is not known; `lost` says why."""
    lost: str = ""
    """Why the builder was given up; the command may go on there."""

    @property
    def text(self) -> str:
        """Both streams."""
        return "\n".join(line for _, line in self.lines)

    @property
    def out(self) -> tuple[str, ...]:
        """Standard output."""
        return tuple(line for stream, line in self.lines if stream == "stdout")


class ProtocolError(ValueError):
    """The answer is not one of this keeper; one line."""


class AnswerReader:
    """Reads the keeper's answer in pieces of any size; one object for one job, over all of its connections.

    Args:
        take: gets each piece of output: ``stdout`` or ``stderr``, and its bytes.
    """

    def __init__(self, take: Callable[[str, bytes], None]) -> None:
        self._take = take
        self._rest = b""
        self.offset = 0
        """Bytes of the job's log that have been read: where to continue."""
        self.started: JobState | None = None
        self.ended: JobState | None = None

    def reconnect(self) -> None:
        """Begin a new connection: it repeats the frame of which the old one brought a part."""
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Read a piece of the answer.

        Raises:
            ProtocolError: the keeper does not answer so.
        """
        self._rest += data
        while self._rest:
            match = _HEAD.match(self._rest)
            if match is None:
                if len(self._rest) < _LONGEST_HEAD and b"\n" not in self._rest:
                    return
                raise ProtocolError(f"unexpected answer: {self._rest[:60]!r}")
            kind, length, start = match[1].decode(), int(match[3]), match.end()
            if len(self._rest) < start + length:
                return
            body, self._rest = self._rest[start : start + length], self._rest[start + length :]
            self._frame(kind, body, start + length)

    def _frame(self, kind: str, body: bytes, size: int) -> None:
        if kind == "h":
            self.started = read_job_state(body.decode(errors="replace"))
        elif kind == "x":
            self.ended = read_job_state(body.decode(errors="replace"))
        else:
            self.offset += size
            self._take("stdout" if kind == "o" else "stderr", body)


def read_job_state(text: str) -> JobState:
    """Read the state of a job.

    Raises:
        ProtocolError: it is not one.
    """
    fields = dict(line.partition(" ")[::2] for line in text.splitlines())
    try:
        started, ended = int(fields["started"]), int(fields["ended"])
        return JobState(
            instance=fields["instance"],
            how=fields["how"],
            code=int(fields["code"]),
            seconds=(ended - started) / 1000 if ended > started else 0.0,
            reason=fields.get("reason", ""),
            way=fields.get("way", ""),
            first_report=fields.get("told", "first") == "first",
        )
    except (KeyError, ValueError) as error:
        raise ProtocolError(f"a job's status cannot be read: {error}") from None


@dataclass(frozen=True)
class ListedJob:
    """One job in a builder's list."""

    id: str
    state: str
    """``running`` or ``ended``."""
    how: str
    code: int
    started: float
    """Seconds since 1970, the builder's clock."""
    ended: float
    """0 while it runs."""
    label: str

    def state_text(self) -> str:
        """Its state, for a line."""
        if self.state == "running":
            return "running"
        texts = {"exit": f"exit status {self.code}", "dead": "ended without a status (restarted, or killed)"}
        return texts.get(self.how, self.how or "unknown")


def read_list(lines: Iterable[str]) -> list[ListedJob]:
    """Read the output of ``list`` and ``cancel``; other lines are skipped."""
    found = []
    for line in lines:
        fields = line.rstrip("\r\n").split("\t")
        if len(fields) == 10 and fields[0] == "@job":
            number = [int(field) if field.lstrip("-").isdigit() else 0 for field in fields]
            found.append(
                ListedJob(fields[1], fields[2], fields[3], number[4], number[5] / 1000, number[6] / 1000, fields[9])
            )
    return found
