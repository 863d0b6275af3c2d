"""The text that a person signs: one release, one environment, an end. Pure."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationError

from gofallback.approval.digest import ApprovalError
from gofallback.model.base import Line, Sha256, Strict

#: Namespace of the signatures (ssh-keygen(1), -Y sign): one made for e-mail or git never counts as an approval.
NAMESPACE = "gofallback-approval"
#: Bytes; a statement is smaller than one kilobyte.
LARGEST = 64 * 1024
#: Characters of a reason.
LONGEST_REASON = 500

_FORM = "%Y-%m-%dT%H:%M:%SZ"
#: Parts of a path and arguments of ssh-keygen: none can leave the folder or look like an option.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9@._+-]{0,127}")


def _utc(value: str) -> str:
    try:
        datetime.strptime(value, _FORM)
    except ValueError:
        raise ValueError("should be a time such as 2026-11-22T03:12:44Z") from None
    return value


def _part(value: str) -> str:
    if not _PART.fullmatch(value):
        raise ValueError("should be 1 to 128 letters, digits, '@', '.', '_', '+' and '-'")
    return value


Utc = Annotated[str, AfterValidator(_utc)]
Part = Annotated[str, AfterValidator(_part)]


class Statement(Strict):
    """One person's statement that one release may go to one environment."""

    schema_version: Literal[1] = 1
    environment: Part
    service: Part
    version: Part
    commit: str
    platforms: list[str]
    digest: Sha256
    """`gofallback.approval.digest.Release.digest`: all binaries of the version."""
    principal: Part
    """The person who approves, as in allowed_signers."""
    at: Utc
    """When it was signed."""
    expires: Utc
    reason: Line = ""

    def text(self) -> bytes:
        """The canonical bytes: the content of the file, and the signed text."""
        return (json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=True) + "\n").encode()

    @property
    def signed_at(self) -> datetime:
        """When it was signed; UTC."""
        return parse_time(self.at)

    @property
    def expires_at(self) -> datetime:
        """When it ends; UTC. The environment may end it earlier."""
        return parse_time(self.expires)


def parse_statement(content: bytes) -> Statement:
    """A statement, from a file's bytes.

    Raises:
        ApprovalError: the problem, to stand after the file's name.
    """
    try:
        found = Statement.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ApprovalError(f"is no statement of approval ({where + ': ' if where else ''}{first['msg']})") from None
    if found.text() != content:
        raise ApprovalError("is not as `gofallback approve` wrote it (line ends? a key twice?), so it does not count")
    return found


def path_part(what: str, value: str) -> str:
    """A name, checked to be fit for a folder.

    Raises:
        ApprovalError: it is not.
    """
    if not _PART.fullmatch(value):
        raise ApprovalError(
            f"{what} {value!r}: should be letters, digits, '@', '.', '_', '+' and '-' to have approvals"
        )
    return value


def parse_time(text: str) -> datetime:
    """A time, from RFC 3339 in UTC with seconds."""
    return datetime.strptime(text, _FORM).replace(tzinfo=UTC)


def time_text(at: datetime) -> str:
    """A time as RFC 3339 in UTC with seconds."""
    return at.astimezone(UTC).strftime(_FORM)
