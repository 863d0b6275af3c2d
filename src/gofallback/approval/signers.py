"""Parses allowed_signers for the people who may sign. Pure; only ssh-keygen decides whether a signature counts."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gofallback.approval.statement import NAMESPACE

#: One option of a line: name, or name="value" (ssh-keygen(1), ALLOWED SIGNERS).
_OPTION = re.compile(r'([A-Za-z-]+)(?:="([^"]*)")?,?')
_OPTIONS = ("cert-authority", "namespaces", "valid-after", "valid-before")
_KEY_TYPE = re.compile(r"(ssh-|ecdsa-|sk-)\S+")


@dataclass(frozen=True)
class Signer:
    """One line: some principals and one key."""

    principals: tuple[str, ...]
    """Names or patterns."""
    fingerprint: str
    """As ssh-keygen -l shows it: ``SHA256:...``."""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The principals that are no patterns."""
        return tuple(name for name in self.principals if not re.search(r"[*?!]", name))

    def may_sign(self, now: datetime) -> bool:
        """Whether the line's options let the key sign an approval now."""
        spaces = self.options.get("namespaces", "*").split(",")
        if not any(fnmatch.fnmatchcase(NAMESPACE, space) for space in spaces):
            return False
        after, before = _time(self.options.get("valid-after")), _time(self.options.get("valid-before"))
        return (after is None or now >= after) and (before is None or now < before)


def parse_signers(text: str) -> list[Signer]:
    """Every signer; lines that ssh-keygen does not understand either are skipped."""
    return [found for line in text.splitlines() if (found := _signer(line.strip())) is not None]


def names_of(signers: Iterable[Signer], fingerprints: Iterable[str]) -> tuple[str, ...]:
    """The principals who own these keys."""
    known = set(fingerprints)
    return tuple(sorted({name for signer in signers if signer.fingerprint in known for name in signer.names}))


def _signer(line: str) -> Signer | None:
    if not line or line.startswith("#"):
        return None
    quoted = re.match(r'"([^"]*)"\s+(.*)', line)
    names, rest = quoted.groups() if quoted else (*line.split(None, 1), "")[:2]
    options: dict[str, str] = {}
    while rest and not _KEY_TYPE.match(rest):
        option = _OPTION.match(rest)
        if option is None or option[1].lower() not in _OPTIONS:
            return None
        options[option[1].lower()] = option[2] or ""
        rest = rest[option.end() :].lstrip()
    parts = rest.split()
    fingerprint = _fingerprint(parts[1]) if len(parts) > 1 else None
    principals = tuple(name.strip() for name in names.split(",") if name.strip())
    return Signer(principals, fingerprint, options) if fingerprint and principals else None


def _fingerprint(key: str) -> str | None:
    try:
        digest = hashlib.sha256(base64.b64decode(key, validate=True)).digest()
    except (binascii.Error, ValueError):
        return None
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _time(text: str | None) -> datetime | None:
    """``YYYYMMDD[HHMM[SS]][Z]``: local time, or UTC with the Z (ssh-keygen(1), TIME FORMATS); None: no limit."""
    if not text:
        return None
    plain = text.removesuffix("Z")
    form = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(plain))
    try:
        found = datetime.strptime(plain, form or "")
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if text.endswith("Z") else found.astimezone()
