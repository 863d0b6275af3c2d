"""The agent's record (docs/agent.md), as a target sends it. Pure."""

from __future__ import annotations

from typing import Any

from gofallback.untrusted_values import json_object

#: Type of each key of a record.
_KEYS_BY_TYPE: dict[type | tuple[type, ...], tuple[str, ...]] = {
    str: (
        *("state", "stage", "service", "home", "release", "previous", "runs_now", "run_id", "started_by"),
        *("cause", "reason", "started", "updated", "finished", "why", "boot_id", "event", "detail", "at"),
    ),
    dict: ("timings", "confirm", "decided", "superseded", "checks", "units"),
    list: ("journal", "stages", "pruned"),
    bool: ("healthy", "keep_failed"),
    (int, float): ("elapsed", "fence", "attempt", "schema"),
}
_TYPES = {key: kind for kind, keys in _KEYS_BY_TYPE.items() for key in keys}


def parse_record(text: str | bytes) -> dict[str, Any] | None:
    """A record without the keys whose values have the wrong type; None if the text is not a JSON object."""
    content = json_object(text)
    if content is None:
        return None
    return {key: value for key, value in content.items() if value is None or isinstance(value, _TYPES.get(key, object))}
