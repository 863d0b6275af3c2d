"""A target pulls a program from a store: the request to its agent, and what its failures mean. Pure.

The agent's `fetch` (agent/fetch.go) reads one line of JSON from its standard input. A token or a signed URL is thus
never in an argument, an environment variable or a file of the target.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PullSource:
    """A URL from which a target pulls a program, with credentials and limits."""

    store: str
    """Name of the store in group data."""
    host: str
    """Host of the URL, for messages."""
    url: str = field(repr=False)
    """May be signed: a secret."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    identity: str = "an anonymous reader"
    """The credentials the target uses, for messages."""
    signed: bool = False
    """The URL itself is the credential (S3)."""
    ca: str = field(default="", repr=False)
    """PEM of an additional authority."""
    timeout: float = 60
    """Seconds without data."""
    attempts: int = 5
    deadline: float = 600
    """Seconds for all files together."""
    proxy: str = ""


@dataclass(frozen=True)
class PullFile:
    """One file to pull."""

    path: str
    """Absolute, on the target."""
    sha256: str
    size: int
    """Bytes."""
    source: PullSource


#: Kinds of failure of the store or of the network to it: the controller may push the program instead.
STORE_FAILURES = frozenset({"down", "refused", "absent", "store", "tls", "wrong", "deadline", "request", "fetch"})


def request_line(files: Sequence[PullFile]) -> bytes:
    """The request to the agent. All files come from one store: the limits of the first apply."""
    first = files[0].source
    request = {
        "files": [
            {
                "path": file.path,
                "url": file.source.url,
                "headers": dict(file.source.headers),
                "sha256": file.sha256,
                "size": file.size,
            }
            for file in files
        ],
        "timeout": first.timeout,
        "deadline": first.deadline,
        "attempts": first.attempts,
        "ca": first.ca,
        "proxy": first.proxy,
    }
    return json.dumps(request).encode() + b"\n"


def failure_message(kind: str, text: str, source: PullSource) -> str:
    """One line: why a program could not be pulled, and the remedy."""
    problem = f"cannot be pulled from {source.store}: {text}"
    if kind == "refused" and source.signed:
        return (
            f"{problem}: the store refuses the signed URL; may these credentials read there (s3:GetObject), and is "
            "the controller's clock right?"
        )
    remedies = {
        "refused": f"the store refuses {source.identity}; read_token of the store names the place of one that may read",
        "absent": f"it was published, and is not there for {source.identity}; may it read there (read_token)?",
        "down": f"is {source.host} up, and can this target reach it?",
        "deadline": "the store or the network to it is too slow; target.pull_deadline sets the limit",
        "wrong": "that is not what was published; find out what changes files on the way",
        "tls": "is it the right host? `ca` of the store names the authority of a private one",
        "fetch": "the agent of this version has no fetch or does not run here; build the version again",
    }
    remedy = remedies.get(kind)
    return f"{problem}; {remedy}" if remedy else problem
