"""How a target gets a program by itself: what its agent is told, and what its answers mean. Pure.

The agent's `fetch` reads one line of JSON from its standard input, so that a token or a signed address stands in no
argument, variable or file of the target (agent/fetch.go).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """Where a target gets a program, and with what."""

    store: str
    """Name of the store in group data."""
    host: str
    """Of its address, for a person."""
    url: str = field(repr=False)
    """May be signed: a secret."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    asker: str = "nobody in particular"
    """Who the target asks as, for a person."""
    signed: bool = False
    """The address itself is the credential (S3)."""
    ca: str = field(default="", repr=False)
    """PEM of a further authority."""
    timeout: float = 60
    """Seconds without a byte."""
    attempts: int = 5
    deadline: float = 600
    """Seconds for all of it."""
    proxy: str = ""


@dataclass(frozen=True)
class Wanted:
    """One file that is to be fetched."""

    path: str
    """Absolute, on the target."""
    sha256: str
    size: int
    """Bytes."""
    source: Source


#: Kinds of failure that are the store's, or of the way to it: the program may still be pushed.
STORES = frozenset({"down", "refused", "absent", "store", "tls", "wrong", "deadline", "request", "fetch"})


def request_line(wanted: Iterable[Wanted]) -> bytes:
    """What the agent reads; the clock is the first one's: all come from one store."""
    files = list(wanted)
    first = files[0].source
    told = {
        "files": [
            {
                "path": one.path,
                "url": one.source.url,
                "headers": dict(one.source.headers),
                "sha256": one.sha256,
                "size": one.size,
            }
            for one in files
        ],
        "timeout": first.timeout,
        "deadline": first.deadline,
        "attempts": first.attempts,
        "ca": first.ca,
        "proxy": first.proxy,
    }
    return json.dumps(told).encode() + b"\n"


def explain(kind: str, text: str, source: Source) -> str:
    """One line for a person: why a program could not be pulled, and what to do."""
    said = f"cannot be pulled from {source.store}: {text}"
    if kind == "refused" and source.signed:
        return (
            f"{said}: the store refuses the signed address; may these credentials read there (s3:GetObject), and is "
            "the controller's clock right?"
        )
    remedies = {
        "refused": f"the store refuses {source.asker}; read_token of the store names the place of one that may read",
        "absent": f"it was published, and is not there for {source.asker}; may it read there (read_token)?",
        "down": f"is {source.host} up, and can this target reach it?",
        "deadline": "the store or the way to it is too slow; target.pull_deadline sets the limit",
        "wrong": "that is not what was published; find out what changes files on the way",
        "tls": "is it the right host? `ca` of the store names the authority of a private one",
        "fetch": "the agent of this version cannot do it or does not run here; build the version anew",
    }
    remedy = remedies.get(kind)
    return f"{said}; {remedy}" if remedy else said
