"""Why a build failed and what to do about it, read from go's output. Pure.

The texts are those of cmd/go and the compiler, of git, of Linux, of Wine, and of Windows in English: go asks for those
first (syscall.Errno.Error); where a host has none, such a failure ends as ``unknown`` with its last lines shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from gofallback.gobuild.failure_rules import RULES, Kind

Step = Literal["build", "modules", "generate", "vet", "test"]

_TITLES: dict[str, str] = {
    "dependency": "dependency",
    "compile": "compile error",
    "generate": "go generate",
    "cgo": "C compiler or library",
    "permission": "file locked or access denied",
    "disk": "disk full",
    "toolchain": "Go toolchain",
    "timeout": "timeout",
    "vet": "go vet",
    "test": "go test",
    "connection": "connection lost",
    "cancelled": "cancelled",
    "unknown": "unknown cause",
}


@dataclass(frozen=True)
class Failure:
    """One class of failure, with what happened and what to do."""

    kind: Kind
    cause: str
    """One line."""
    remedy: str
    """One line: what to change, by its key in group data where there is one."""

    @property
    def title(self) -> str:
        """The kind in words."""
        return _TITLES[self.kind]


_PLACE = r"(?:vet: )?(?:\.[\\/])?((?:[A-Za-z]:)?[^\s:\"]+\.(?:go|s|c|h|mod|work|sum)):(\d+)(?::(\d+))?: (.+)"

_COMPILE = (
    re.compile(_PLACE),
    re.compile(r"()()()(.*build constraints exclude all Go files.*)"),
    re.compile(r"()()()(.*no Go files in .*)"),
    re.compile(r"()()()(.*import cycle not allowed.*)"),
    re.compile(r"()()()(.*(?:directory not found|is not a main package|found packages .* and .*))"),
    re.compile(r"()()()(.*(?:undefined reference|relocation target \S+ not defined|function main is undeclared).*)"),
    re.compile(r"()()()(.*(?:duplicate symbol: |multiple definition of ).*)"),
)
_NO_FOLDER = re.compile(r"\bcd: (?:can't cd to )?\S+|^The system cannot find the path specified\.?$")
#: cmd/go/internal/generate: the directive, the program, and what came of it.
_DIRECTIVE = re.compile(r"(\S+\.go:\d+): running \"([^\"]+)\": (.+)")
_TEST = re.compile(r"--- FAIL: (\S+)|^(panic: .*)|^FAIL\t(\S+)")
_MODULE = re.compile(r"\b[\w-]+(?:\.[\w-]+)+/[\w./~-]+(?:@v[\w.+-]+|(?=/go\.mod at revision))")
_NOISE = re.compile(r"^(#|go: downloading|go: finding|go: extracting|ok\s|\?\s|PASS$|FAIL$|exit status)")


def classify(output: str, exit_code: int, timed_out: bool, *, step: Step = "build", seconds: float = 0) -> Failure:
    """What the output of a failed go command means.

    Args:
        output: stdout and stderr together.
        exit_code: exit status, for the case that nothing was printed.
        timed_out: the command was ended because its time was over.
        step: which command: ``go build``, ``go mod download``, ``go generate``, ``go vet`` or ``go test``.
        seconds: the time it had, for the text.
    """
    if timed_out:
        return Failure(
            "timeout",
            f"not finished after {seconds:g} s",
            "raise build.timeout; a first build without cache takes several times as long as later ones",
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if step == "test":
        failed = _test(lines)
        if failed:
            return failed
    if step == "generate":
        said = [line for line in lines if not _DIRECTIVE.match(line)]
        return _no_generator(lines) or _by_rule(said) or _compile(said, step) or _generate(lines, exit_code)
    return _by_rule(lines) or _compile(lines, step) or _no_folder(lines) or _unknown(lines, exit_code)


def _by_rule(lines: list[str]) -> Failure | None:
    for rule in RULES:
        for line in lines:
            match = rule.pattern.search(line)
            if match:
                words = {str(number): group or "?" for number, group in enumerate(match.groups(), 1)}
                words |= {"0": _short(line), "module": _module(lines)}
                return Failure(rule.kind, _fill(rule.cause, words), _fill(rule.remedy, words))
    return None


def _no_folder(lines: list[str]) -> Failure | None:
    """The shell found no folder to run go in; cmd.exe does not say which."""
    found = next((line for line in lines if _NO_FOLDER.search(line)), None)
    remedy = "correct build.directory: a folder of the repository at that commit, the one with go.mod"
    return Failure("compile", f"the commit has no such folder: {_short(found)}", remedy) if found else None


def _compile(lines: list[str], step: Step) -> Failure | None:
    found = list(_places(lines))
    if not found:
        return None
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    vetted = step == "vet" and not any(line.startswith("vet: ") for line in lines)
    if vetted:
        return Failure("vet", found[0] + more, "correct it in the source, or set build.vet: false for this emergency")
    remedy = "correct it in the source; the same commit fails on every machine"
    if "build constraints exclude all Go files" in found[0]:
        remedy = f"{remedy}; where the package has C in it, set build.cgo (docs/cgo.md)"
    if re.search(r"directory not found|no Go files in|is not a main package", found[0]):
        keys = "build.package (or build.binaries, build.generate, build.directory)"
        remedy = f"correct {keys}, or the source; the same commit fails on every machine"
    if re.search(r":1:1: expected 'package', found", found[0]):
        remedy = (
            "if it is a symbolic link in the repository: every builder checks that out as a text file with its target, "
            "as Windows does; put the code itself there, or in a package that both import"
        )
    return Failure("compile", found[0] + more, remedy)


def _places(lines: list[str]) -> Iterator[str]:
    for line in lines:
        for pattern in _COMPILE:
            match = pattern.match(line)
            if match:
                file, row, column, text = match.groups()
                place = ":".join(part for part in (file.replace("\\", "/"), row, column) if part)
                yield _short(f"{place}: {text}" if place else text)
                break


def _test(lines: list[str]) -> Failure | None:
    if any("[build failed]" in line or "[setup failed]" in line for line in lines):
        return None
    hits = [match for line in lines if (match := _TEST.search(line))]
    names = [match.group(1) for match in hits if match.group(1)]
    if not hits:
        return None
    place = next(iter(match.group(0) for line in lines if (match := re.match(r"\S+_test\.go:\d+: .*", line))), "")
    what = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    cause = ": ".join(part for part in (what or (hits[0].group(2) or hits[0].group(3)), place) if part)
    return Failure("test", _short(cause), "correct it in the source, or set build.test: false for this emergency")


def _no_generator(lines: list[str]) -> Failure | None:
    for line in lines:
        found = _DIRECTIVE.match(line)
        if found and re.search(r"executable file not found|file does not exist|cannot find the file", found[3]):
            return Failure(
                "generate",
                f"the generator {found[2]} is not on the builder ({_posix(found[1])})",
                "gofallback puts no program there but Go and Git: write `//go:generate go run <package>`, or `go tool` "
                "with the tool in go.mod; or commit what it makes and leave build.generate out",
            )
    return None


def _generate(lines: list[str], exit_code: int) -> Failure:
    for number, line in enumerate(lines):
        found = _DIRECTIVE.match(line)
        if found:
            said = next((one for one in reversed(lines[:number]) if not _NOISE.match(one)), "it said nothing")
            cause = f"{_posix(found[1])}: {found[2]}: {found[3]}: {said}"
            return Failure("generate", _short(cause), "correct the generator, or commit what it makes")
    return _unknown(lines, exit_code)


def _posix(place: str) -> str:
    return place.replace("\\", "/")


def _unknown(lines: list[str], exit_code: int) -> Failure:
    told = [line for line in lines if not _NOISE.match(line)] or lines
    cause = " | ".join(_short(line, 150) for line in told[-2:]) or "nothing was printed"
    return Failure("unknown", f"exit status {exit_code}: {cause}", "read the whole output, or run again with -vvv")


def _module(lines: list[str]) -> str:
    found = (_MODULE.search(line) for line in lines if not line.startswith("go: downloading"))
    return next((match.group(0) for match in found if match), "a module")


def _fill(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: words.get(match.group(1), match.group()), text)


def _short(line: str, most: int = 260) -> str:
    return line if len(line) <= most else line[: most - 3] + "..."
