"""An entry of a journal as one line for a person. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gofallback.journal.read import Entry

#: Shown in other columns of the table, or of use to programs only.
_HIDDEN = frozenset({"previous_head", "head", "evidence", "identity", "options", "plan", "waves"})
_MOST = 400


def entry_text(entry: Entry) -> str:
    """One line: the important keys of the event first, then the others."""
    data = dict(entry.data)
    parts: list[str] = []
    if entry.event in ("started", "resumed", "aborted"):
        parts = _start_parts(data)
    elif entry.event == "wave":
        hosts = data.pop("hosts", None)
        parts = [f"{data.pop('name', '?')} {data.pop('state', '')}".strip()]
        parts += [f"({_some(hosts)})"] if hosts else []
        data.pop("number", None)
    elif entry.event == "ended":
        parts = [f"{data.pop('verdict', '?')}, exit status {data.pop('exit', '?')}"]
    elif "release" in data or "live" in data:
        parts = _release_parts(data)
    reason = data.pop("reason", None) or data.pop("text", None)
    if reason:
        parts.append(_flat(reason))
    parts += [
        f"{key}={_flat(value)}" for key, value in data.items() if key not in _HIDDEN and value not in (None, "", [], {})
    ]
    return _short(", ".join(part for part in parts if part))


def _start_parts(data: dict[str, Any]) -> list[str]:
    parts = [f"{data.pop('command', '')} by {data.pop('who', '?')}".strip()]
    why = data.pop("why", "")
    if why:
        parts.append(f"because: {_flat(why)}")
    plan = data.get("plan")
    if isinstance(plan, Sequence) and not isinstance(plan, str):
        rows = [row for row in plan if isinstance(row, Mapping)]
        to = sorted({str(row.get("release")) for row in rows if row.get("release")})
        parts.append(f"{_some([row.get('host') for row in rows])} to {_some(to)}" if to else "")
    return parts


def _release_parts(data: dict[str, Any]) -> list[str]:
    target, previous, live = (data.pop(key, None) for key in ("release", "previous", "live"))
    parts = [f"{target or live or 'nothing'}" + (f" (before: {previous})" if previous and previous != target else "")]
    if live and target and live != target:
        parts.append(f"{live} runs there")
    return parts


def _some(names: Any) -> str:
    found = list(dict.fromkeys(str(name) for name in names)) if isinstance(names, Sequence) else [str(names)]
    return ", ".join(found) if len(found) <= 6 else f"{', '.join(found[:5])} and {len(found) - 5} more"


def _flat(value: Any) -> str:
    return " ".join((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split())


def _short(text: str) -> str:
    return text if len(text) <= _MOST else text[: _MOST - 3] + "..."
