"""One lock a service and target, so that two runs at once do not meet: the script and the reader of its answer. Pure.

The lock is flock(1) on a file below /run, held by a shell on the target that lives as long as it hears from the
controller: it ends at once when the connection closes, and `PATIENCE` seconds after the last word when the network is
cut. It answers every word: a connection on which a host says nothing for long counts as dead.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from gofallback.release.state import Holder, holder

#: Seconds the target waits for a word of the controller before it lets go.
PATIENCE = 30
#: Seconds between two words.
HEARTBEAT = 3.0
_FOLDER = "/run/gofallback"
#: Exit status of flock(1) when somebody else has the lock (EX_TEMPFAIL of sysexits.h).
_BUSY = 75


@dataclass(frozen=True)
class Answer:
    """What the target said first."""

    held: bool
    busy: tuple[tuple[str, Holder], ...] = ()
    """Services somebody else has, and who."""
    error: str = ""


def hold(services: Iterable[str], *, run_id: str, who: str, patience: int = PATIENCE) -> str:
    """The script: takes every lock or none, says ``held``, and keeps them while lines come on its standard input.

    Args:
        services: names; the order does not matter, locks are always taken in the same one.
        run_id: of this run.
        who: user@host of the controller.
        patience: seconds without a line after which the locks are given up.
    """
    names = sorted(set(services))
    note = shlex.quote("\t".join(re.sub(r"[\x00-\x1f\x7f]+", " ", part).strip() or "unknown" for part in (run_id, who)))
    files = " ".join(f"{_FOLDER}/{name}.holder" for name in names)
    keep = (
        f'for f in {files}; do printf "%s\\t%s\\n" "$1" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$f"; done; echo held; '
        f'while timeout {patience} sh -c "read -r _"; do touch {files}; echo; done; rm -f {files}'
    )
    take = " ".join(f"flock -w 1 -E {_BUSY} {_FOLDER}/{name}.lock" for name in names)
    return "\n".join(
        [
            "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"mkdir -p -m 755 {_FOLDER} || exit 1",
            f"{take} sh -c {shlex.quote(keep)} gofallback-lock {note} && exit 0",
            f"[ $? = {_BUSY} ] || exit 1",
            f"for s in {' '.join(names)}; do flock -n -s {_FOLDER}/$s.lock true ||",
            f'  printf \'busy\\t%s\\t%s\\n\' "$s" "$(cat {_FOLDER}/$s.holder 2>/dev/null)"; done',
            f"exit {_BUSY}",
        ]
    )


def read(lines: Iterable[str]) -> Answer:
    """Read what `hold` said until it ended or said ``held``."""
    busy, other = [], ""
    for line in lines:
        word, *parts = line.split("\t")
        if word == "held":
            return Answer(held=True)
        if word == "busy" and parts:
            busy.append((parts[0], holder(part for part in parts[1:4] if part)))
        else:
            other = line
    return Answer(held=False, busy=tuple(busy), error="" if busy else other or "it was let go just now; run again")
