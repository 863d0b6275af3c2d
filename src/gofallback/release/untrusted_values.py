"""Numbers and records that a target tells. It may be damaged or hostile: nothing it says ends the controller. Pure."""

from __future__ import annotations

import json
import math
from typing import Any

#: What the keys of the agent's records are (docs/agent.md); a key that is something else is left out.
_KINDS: dict[type | tuple[type, ...], tuple[str, ...]] = {
    str: (
        *("state", "stage", "service", "home", "release", "previous", "runs_now", "run_id", "started_by"),
        *("cause", "reason", "started", "updated", "finished", "why", "boot_id", "event", "detail", "at"),
    ),
    dict: ("timings", "confirm", "decided", "superseded", "checks", "units"),
    list: ("journal", "stages", "pruned"),
    bool: ("healthy", "keep_failed"),
    (int, float): ("elapsed", "fence", "attempt", "schema"),
}
_KIND = {key: kind for kind, keys in _KINDS.items() for key in keys}


def number(text: str) -> int:
    """A count or fencing number; 0 for what is none: only ASCII digits, at most 18 of them."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def seconds(value: object) -> float:
    """A span of time in seconds; 0 for what is none."""
    try:
        found = float(value) if isinstance(value, (str, int, float)) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return found if math.isfinite(found) else 0.0


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def record(text: str | bytes) -> dict[str, Any] | None:
    """A record of the agent without the keys that are not what they should be; None: not an object."""
    content = json_object(text)
    if content is None:
        return None
    return {key: value for key, value in content.items() if value is None or isinstance(value, _KIND.get(key, object))}
