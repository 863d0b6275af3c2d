"""Keeps secrets out of everything that is written: reports are copied into tickets and chats.

The only list of names of secrets is here. Known secret values (`hide`) are removed from every text, such as the output
of a service that fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

_HIDDEN = "***"
#: Names whose value is always a secret.
_STRONG = r"token|secret|passw(?:or)?d|passphrase|pwd|api[_-]?key|access[_-]?key|private[_-]?key|credential|dsn|cookie"
#: Names whose value is a secret as names of variables and headers; in a sentence they are ordinary words.
_WEAK = r"pass|key|private|auth|salt|signature"
_SURE = re.compile(_STRONG, re.IGNORECASE)
_LIKELY = re.compile(f"{_STRONG}|{_WEAK}", re.IGNORECASE)
#: Characters; shorter values are ordinary words, which would disappear from every line.
_SHORTEST = 6
_known: set[str] = set()
#: Mappings whose keys are names chosen by a person.
GIVEN = frozenset({"environment", "headers"})
_IN_ADDRESS = re.compile(r"(?i)(?:://[^/\s:@]*:(?P<password>[^/\s@]+)|\bhttps?://(?P<token>[^/\s:@]+))@")

#: Secrets that show their kind: tokens of GitHub, GitLab, AWS and Slack, JSON Web Tokens, private keys.
_KINDS = (
    re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|AKIA|ASIA|xox[abprs]-)[A-Za-z0-9_-]{8,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ in an address
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{_HIDDEN}@"),
    # a token in place of the user; the user of ssh:// is no secret
    (re.compile(r"(?i)\b(https?://)(?!\*\*\*)[^/\s:@]+@"), rf"\1{_HIDDEN}@"),
    # the whole header: its value has blanks
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
    """Whether a name is that of a secret.

    Args:
        name: of a variable, a header or a key.
        sure: only names without another meaning; ``key`` and ``auth`` have one.
    """
    return bool((_SURE if sure else _LIKELY).search(name))


def hide(values: Iterable[str]) -> None:
    """Remember secret values: `redact` removes them from every text, for the rest of this process."""
    _known.update(value for value in values if len(value) >= _SHORTEST)


def holds_secret(text: str) -> bool:
    """Whether a text certainly holds a secret: a password in an address, a token, a private key.

    A name with a value is not enough: a configuration may refer to a secret as ``password: ${DB_PASSWORD}``.
    """
    return any(pattern.search(text) for pattern in (_IN_ADDRESS, *_KINDS))


def secrets_in(data: Any, *, likely: bool = False) -> Iterator[str]:
    """Every secret in group data or a host's data, for `hide`: found by its name, or in an address.

    Args:
        data: mappings, lists and texts.
        likely: ``key`` and ``auth`` count as names of secrets, as for variables and headers.
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
    """A JSON value with every text redacted; a value under the name of a secret is hidden as a whole.

    Args:
        value: texts, numbers, mappings, lists; anything else becomes text.
        likely: ``key`` and ``auth`` count as names of secrets, as for variables and headers.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): _redacted_under(str(key), one, likely) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted(one) for one in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redact(str(value))


def _redacted_under(name: str, value: Any, likely: bool) -> Any:
    empty = value is None or value == "" or isinstance(value, bool)
    hidden = names_secret(name, sure=not likely) and not empty
    return _HIDDEN if hidden else redacted(value, likely=name in GIVEN)
