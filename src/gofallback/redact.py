"""Keeps what looks like a secret out of everything that is written down: reports are copied into tickets and chats.

The one list of names that sound like a secret's is here. Values that are known to be secret (`hide`) are found wherever
they turn up, such as in what a service says when it fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

_HIDDEN = "***"
#: Names whose value is a secret wherever they stand.
_STRONG = r"token|secret|passw(?:or)?d|passphrase|pwd|api[_-]?key|access[_-]?key|private[_-]?key|credential|dsn|cookie"
#: Names whose value is a secret when a person gave a variable or a header such a name; in a sentence they are words.
_WEAK = r"pass|key|private|auth|salt|signature"
_SURE = re.compile(_STRONG, re.IGNORECASE)
_LIKELY = re.compile(f"{_STRONG}|{_WEAK}", re.IGNORECASE)
#: Shorter ones are words that would be cut out of every line.
_SHORTEST = 6
_known: set[str] = set()
#: Mappings whose keys are names that a person gave.
GIVEN = frozenset({"environment", "headers"})
_IN_ADDRESS = re.compile(r"(?i)(?:://[^/\s:@]*:(?P<password>[^/\s@]+)|\bhttps?://(?P<token>[^/\s:@]+))@")

#: What says itself what it is: tokens of GitHub, GitLab, AWS and Slack, JSON Web Tokens, private keys.
_KINDS = (
    re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|AKIA|ASIA|xox[abprs]-)[A-Za-z0-9_-]{8,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ in an address
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{_HIDDEN}@"),
    # a token in the place of the user; the user of ssh:// is no secret
    (re.compile(r"(?i)\b(https?://)(?!\*\*\*)[^/\s:@]+@"), rf"\1{_HIDDEN}@"),
    # the whole of a header: its value has blanks in it
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}"), rf"\1 {_HIDDEN}"),
    (
        re.compile(r"(?i)(authorization[\"']?\s*[=:]\s*[\"']?)(?!(?:bearer|basic)\s)[^\s\"'][^\n\"']*"),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"(?i)(\b(?:set-)?cookie[\"']?\s*:\s*[\"']?)[^\s\"'][^\n\"']*"), rf"\1{_HIDDEN}"),
    # token=..., "password": "...", --api-key ...
    (
        re.compile(rf"(?i)((?:{_STRONG})s?[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&]+)"),
        rf"\1{_HIDDEN}",
    ),
    *((pattern, _HIDDEN) for pattern in _KINDS),
)


def names_secret(name: str, *, sure: bool = False) -> bool:
    """Whether a name sounds like a secret's.

    Args:
        name: of a variable, a header or a key.
        sure: only names that never mean anything else; ``key`` and ``auth`` do.
    """
    return bool((_SURE if sure else _LIKELY).search(name))


def hide(values: Iterable[str]) -> None:
    """Remember values that are secret: `redact` takes them out wherever they stand, for the rest of this process."""
    _known.update(value for value in values if len(value) >= _SHORTEST)


def holds_secret(text: str) -> bool:
    """Whether a text holds what can only be a secret: a password in an address, a token, a private key.

    A name with a value behind it is none: ``password: ${DB_PASSWORD}`` is how a configuration asks for one.
    """
    return any(pattern.search(text) for pattern in (_IN_ADDRESS, *_KINDS))


def secrets_in(data: Any, *, likely: bool = False) -> Iterator[str]:
    """Every secret that group data or a host's data holds, for `hide`: found by its name, or in an address.

    Args:
        data: mappings, lists and texts.
        likely: ``key`` and ``auth`` count as names too, as for variables and headers.
    """
    if isinstance(data, Mapping):
        for key, value in data.items():
            name = str(key)
            if isinstance(value, str) and names_secret(name, sure=not likely):
                yield value
                yield from value.split()[1:]  # Authorization: Bearer ...
            yield from secrets_in(value, likely=name in GIVEN)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from secrets_in(value, likely=likely)
    elif isinstance(data, str):
        for found in _IN_ADDRESS.finditer(data):
            yield found["password"] or found["token"]
            yield unquote(found["password"] or found["token"])


def redact(text: str) -> str:
    """The text with passwords, tokens and private keys replaced by ``***``."""
    for value in sorted(_known, key=len, reverse=True):
        if value in text:
            text = text.replace(value, _HIDDEN)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redacted(value: Any, *, likely: bool = False) -> Any:
    """The same of everything a value of JSON holds; what stands under a secret's name is hidden as a whole.

    Args:
        value: texts, numbers, mappings, lists; anything else becomes text.
        likely: ``key`` and ``auth`` count as names too, as for variables and headers.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): _under(str(key), one, likely) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted(one) for one in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redact(str(value))


def _under(name: str, value: Any, likely: bool) -> Any:
    empty = value is None or value == "" or isinstance(value, bool)
    hidden = names_secret(name, sure=not likely) and not empty
    return _HIDDEN if hidden else redacted(value, likely=name in GIVEN)
