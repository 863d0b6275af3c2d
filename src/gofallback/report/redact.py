"""Keeps what looks like a secret out of reports: they are copied into tickets and chats."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_HIDDEN = "***"
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ in an address
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{_HIDDEN}@"),
    # token=..., "password": "...", --api-key ...
    (
        re.compile(
            r"(?i)((?:[\w-]*(?:token|secret|passw(?:or)?d|passphrase|api[_-]?key|credential))[\"']?\s*[=:]\s*)"
            r"(\"[^\"]*\"|'[^']*'|[^\s,;&]+)"
        ),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}"), rf"\1 {_HIDDEN}"),
    # tokens that carry their kind in their name: GitHub, GitLab, AWS, Slack, JSON Web Token
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|AKIA|ASIA|xox[abprs]-)[A-Za-z0-9_-]{8,}"), _HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), _HIDDEN),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), _HIDDEN),
)


def redact(text: str) -> str:
    """The text with passwords, tokens and private keys replaced by ``***``."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redacted(value: Any) -> Any:
    """The same of everything a value of JSON holds."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): redacted(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted(one) for one in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redact(str(value))
