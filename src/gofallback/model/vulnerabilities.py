"""The scan of a binary for known vulnerabilities before its release (docs/vulnerabilities.md)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gofallback.model.base import Line, Strict, one_line

Level = Literal["symbol", "package", "module"]


def _day(value: str) -> str:
    try:
        date.fromisoformat(value)
    except ValueError:
        raise ValueError("should be a day such as '2026-12-31', in quotes") from None
    return value


def _program(value: str) -> str:
    one_line(value)
    if not value.strip() or value.startswith("-") or ("/" in value and not value.startswith("/")):
        raise ValueError("should be an absolute path, or the name of a program on the controller's PATH")
    return value


Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_day)]


class Ignored(Strict):
    """A vulnerability that a person has judged harmless here."""

    id: Annotated[str, Field(pattern=r"^(GO|CVE|GHSA)-[A-Za-z0-9-]+$")] = Field(
        description="`GO-2026-1234`, or one of its aliases (`CVE-...`, `GHSA-...`)"
    )
    reason: Annotated[Line, Field(min_length=1)] = Field(description="why it does no harm here; part of every report")
    until: Day = Field(
        description="the last day on which it is ignored (UTC), such as '2026-12-31'; later it counts again"
    )

    @property
    def last_day(self) -> date:
        """`until` as a day."""
        return date.fromisoformat(self.until)


class Vulnerabilities(Strict):
    """govulncheck on the controller, for every binary before its release."""

    database: Annotated[Line, Field(pattern=r"^file:///\S+$")] = Field(
        description="the Go vulnerability database as a folder of the controller, `file:///srv/vulndb`; needs no "
        "network"
    )
    policy: Literal["warn", "block", "off"] = Field(
        default="warn",
        description="block: a binary with a vulnerability that counts is not released; warn: it is released, with the "
        "findings in the report; off: no scan",
    )
    program: Annotated[str, AfterValidator(_program)] = Field(
        default="govulncheck", description="govulncheck 1.0 or later on the controller: a path, or a name on its PATH"
    )
    level: Level = Field(
        default="symbol",
        description="lowest level that counts: the binary contains the vulnerable function (symbol), a package with it "
        "(package), or was built with a module that has it (module). A stripped binary only shows its modules, so all "
        "of them count there",
    )
    ignore: list[Ignored] = Field(default_factory=list, description="vulnerabilities that do not count until a day")
    max_age_days: Annotated[int, Field(ge=1, le=3650)] | None = Field(
        default=None, description="an older database refuses the release (block) or is a note (warn); default: any age"
    )
    timeout: Annotated[int, Field(ge=1, le=3600)] = Field(default=300, description="seconds for one binary")

    @model_validator(mode="after")
    def _once(self) -> Vulnerabilities:
        ids = [one.id for one in self.ignore]
        twice = next((one for one in ids if ids.count(one) > 1), None)
        if twice:
            raise ValueError(f"ignore: {twice} has two entries; remove one")
        return self
