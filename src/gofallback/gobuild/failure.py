"""A failed command explained: a table of rules over its output, each with a cause and a remedy. Pure.

A rule stays in a table as long as a test has output of the real program for it. For everything else the last lines of
the output are shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "dependency",
    "compile",
    "cgo",
    "generate",
    "permission",
    "disk",
    "toolchain",
    "timeout",
    "vet",
    "test",
    "connection",
    "cancelled",
    "unknown",
    # On the controller, which downloads modules:
    "mismatch",
    "unsummed",
    "credential",
    "offline",
    "missing",
    "network",
]

_TITLES: Mapping[Kind, str] = {
    "compile": "compile error",
    "generate": "go generate",
    "cgo": "C compiler or library",
    "permission": "file locked or access denied",
    "disk": "disk full",
    "toolchain": "Go toolchain",
    "vet": "go vet",
    "test": "go test",
    "connection": "connection lost",
    "unknown": "unknown cause",
}
_NOISE = re.compile(r"#|go: (?:downloading|finding|extracting) |ok\s|\?\s|PASS$|FAIL$|exit status")
_GO_ADVICE = re.compile(r"; to (?:add|update) it:$")
_MODULE = re.compile(r"\b[\w-]+(?:\.[\w-]+)+/[\w./~-]+(?:@v[\w.+-]+|(?=/go\.mod at revision|: ))")


@dataclass(frozen=True)
class Failure:
    """One kind of failure, what happened, and what to do."""

    kind: Kind
    cause: str
    """One line."""
    remedy: str
    """One line: what to change, by its key in group data where there is one."""

    @property
    def title(self) -> str:
        """The kind in words."""
        return _TITLES.get(self.kind, self.kind)


@dataclass(frozen=True)
class Rule:
    """What a pattern in the output means."""

    kind: Kind
    pattern: str
    """Searched in every line; ``\\s`` reaches into the next."""
    remedy: str
    cause: str = "{0}"
    """``{0}`` is the matching line, ``{1}`` or ``{name}`` a group of the pattern, ``{module}`` the module named."""


def output_lines(output: str) -> list[str]:
    """The lines of an output that are not empty, without blanks around them."""
    return [line.strip() for line in output.splitlines() if line.strip()]


def by_rule(rules: Iterable[Rule], lines: list[str], words: Mapping[str, str] | None = None) -> Failure | None:
    """The failure of the first rule that matches any line: a full disk also looks like a hundred compile errors.

    Args:
        rules: the table.
        lines: see `output_lines`.
        words: further placeholders of causes and remedies.
    """
    text = "\n".join(lines)
    for rule in rules:
        match = re.search(rule.pattern, text, re.MULTILINE)
        if match is None:
            continue
        line = text[text.rfind("\n", 0, match.start()) + 1 :].partition("\n")[0]
        filled = {"0": short(_GO_ADVICE.sub("", line)), "module": _module(lines), **(words or {})}
        filled |= {str(number): group or "?" for number, group in enumerate(match.groups(), 1)}
        filled |= {name: group for name, group in match.groupdict().items() if group}
        return Failure(rule.kind, _fill(rule.cause, filled), _fill(rule.remedy, filled))
    return None


def last_lines(lines: list[str]) -> str:
    """The last three lines that say something, as one."""
    telling = [line for line in lines if not _NOISE.match(line)] or lines
    return " | ".join(short(line, 150) for line in telling[-3:]) or "nothing was printed"


def said_something(line: str) -> bool:
    """Whether a line is more than progress."""
    return not _NOISE.match(line)


def short(line: str, most: int = 260) -> str:
    """A line, cut to a length."""
    return line if len(line) <= most else line[: most - 3] + "..."


def _module(lines: list[str]) -> str:
    found = (_MODULE.search(line) for line in lines if said_something(line))
    return next((match.group() for match in found if match), "a module")


def _fill(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: words.get(match.group(1), match.group()), text)
