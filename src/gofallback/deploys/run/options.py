"""The options ``--data key=value`` of the command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator

from gofallback.deploys.run.commands import Command, commands_with
from gofallback.model.base import DataError, Strict, absolute_posix
from gofallback.redact import redact

#: Prefixes of pyinfra's own keys, which arrive as override data too.
_PYINFRA_PREFIXES = ("ssh_", "_")
#: Characters of a reason: it is part of a command line on every target, and of every journal.
_LONGEST_REASON = 1000


class Options(Strict):
    """The options of one run; every stage reads the same object.

    To add an option: a field here, and its name in the rows of `commands.COMMANDS` that it is for.
    """

    service: tuple[str, ...] = Field(default=(), description="only these services (comma separated)")
    ref: str | None = Field(
        default=None, description="build this branch, tag or SHA in place of the service's `source.ref`"
    )
    version: str | None = Field(default=None, description="rollout: the version of the artifact store to roll out")
    release: str | None = Field(
        default=None, description="rollback: the release to go back to; default: the last good one"
    )
    source_offline: bool = Field(
        default=False, description="go on with the cached mirror when the repository is unreachable"
    )
    skip_unreachable: bool = Field(default=False, description="go on without targets that cannot be reached")
    resume: str | None = Field(default=None, description="rollout: bring the run with this id to its end")
    abort: str | None = Field(default=None, description="rollout: take the run with this id back on every target")
    takeover: str | None = Field(
        default=None, description="id of the run whose lease is taken over; later writes of that run are refused"
    )
    reason: str | None = Field(default=None, description="why this run happens; kept in the journal and the report")
    override_freeze: str | None = Field(
        default=None, description="why this run may go on in a freeze window; kept in the journal and the report"
    )
    break_glass: str | None = Field(
        default=None, description="why this run may go on without approvals, and in a freeze; audited"
    )
    requester: str | None = Field(
        default=None, description="who requests this run, a principal of allowed_signers; default: found by key or name"
    )

    twin: bool | str | None = Field(
        default=None,
        description="true: a second builder has to build the same bytes; a builder's name: that builder; false: none, "
        "also where trust.twin requires one (needs --data reason)",
    )

    faithful: bool = Field(
        default=False,
        description="first rebuild the releases in production and compare the targets' bytes: ship only when equal",
    )

    binary: str | None = Field(
        default=None,
        description="faithful: path of the program on the targets, where gofallback did not install it",
    )

    @field_validator("binary")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        return None if value is None else absolute_posix(value)

    cancel: str | None = Field(default=None, description="builds: end this build (its id), or `all`")
    leave_builds: bool = Field(default=False, description="let running builds go on when this run is stopped (Ctrl-C)")

    @field_validator("service", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, list):  # pyinfra reads JSON
            return tuple(value)
        if not isinstance(value, str):
            return value
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        if not names:
            raise ValueError("no service is named")
        return names

    @field_validator(
        *("ref", "version", "release", "resume", "abort", "takeover", "reason"),
        *("override_freeze", "break_glass", "requester", "twin", "binary", "cancel"),
        mode="before",
    )
    @classmethod
    def _text(cls, value: object) -> object:
        # pyinfra turns `--data version=1.10` into the number 1.1, and the text is gone.
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise ValueError(f"was read as the number {value}; write it with quotes inside quotes: '\"{value}\"'")
        if value == "":
            raise ValueError("is empty; leave it out for the default")
        return value

    @field_validator("reason", "override_freeze", "break_glass")
    @classmethod
    def _clean(cls, value: str | None) -> str | None:
        # A reason goes into a command line and the journal of every target, so secrets are removed from it.
        if value is None:
            return None
        text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", redact(value)).strip()
        if not text:
            raise ValueError("is empty; leave it out for the default")
        if len(text) > _LONGEST_REASON:
            raise ValueError(
                f"has {len(text)} characters, at most {_LONGEST_REASON} are taken; name a ticket or a page"
            )
        return text

    def check(self, command: Command) -> None:
        """Refuse options that have no effect with this deploy file, or beside another option.

        An option without effect must not look as if it had one.

        Raises:
            DataError: one line.
        """
        if self.version and (self.resume or self.abort):
            way = "resume" if self.resume else "abort"
            raise DataError(
                f"--data version={self.version}: {way} knows its releases from the run it names; leave it out"
            )
        for key, field in type(self).model_fields.items():
            value, commands = getattr(self, key), commands_with(key)
            # `twin=false` counts as given: it sets a rule aside.
            if value != field.default and commands and command.name not in commands:
                allowed = " and ".join(f"deploys/{name}.py" for name in commands)
                raise DataError(
                    f"--data {key}={redact(str(value))}: deploys/{command.name}.py does not use it; it is for {allowed}"
                )
        if self.binary and not command.production_only and not self.faithful:
            raise DataError(
                f"--data binary={self.binary}: needs --data faithful=true, which compares that program; add it"
            )


def parse_options(override: Mapping[str, Any], group_data_keys: frozenset[str]) -> Options:
    """Parse pyinfra's override data.

    Args:
        override: the ``--data`` of the command line, with values parsed by pyinfra.
        group_data_keys: keys of the group data, which ``--data`` may override too.

    Raises:
        DataError: an unknown key or an invalid value.
    """
    own = {key: value for key, value in override.items() if key in Options.model_fields}
    for key in override:
        if key in own or key in group_data_keys or key.startswith(_PYINFRA_PREFIXES):
            continue
        known = sorted(Options.model_fields)
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise DataError(f"--data {key}: unknown key; {hint}known keys: {', '.join(known)}")
    try:
        return Options(**own)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"--data {first['loc'][0]}={_shown(first['input'])}: {_plain(first['msg'])}") from None


def _shown(value: object) -> str:
    text = " ".join(redact(str(value)).split())
    return text if len(text) <= 100 else f"{text[:100]}..."


def _plain(message: str) -> str:
    if "valid boolean" in message:
        return "expected true or false"
    return message.removeprefix("Value error, ")
