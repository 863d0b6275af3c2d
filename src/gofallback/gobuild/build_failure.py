"""Why a go command failed on a builder and what to do about it, read from its output. Pure.

The texts are those of cmd/go and the compiler, of git, of Linux, of Wine, and of Windows in English: go asks for those
first (syscall.Errno.Error); where a host has none, such a failure ends as ``unknown`` with its last lines shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from gofallback.gobuild.failure import Failure, by_rule, last_lines, output_lines, said_something, short
from gofallback.gobuild.failure_rules import RULES

Step = Literal["build", "modules", "generate", "vet", "test"]

#: File, line, column and text of a compile error.
_AT_POSITION = re.compile(
    r"(?:vet: )?(?:\.[\\/])?((?:[A-Za-z]:)?[^\s:\"]+\.(?:go|s|c|h|mod|work|sum)):(\d+)(?::(\d+))?: (.+)"
)
_OTHER_ERROR = re.compile(
    r"build constraints exclude all Go files|no Go files in |import cycle not allowed|directory not found"
    r"|found packages .* and |undefined reference|multiple definition of "
    r"|relocation target \S+ not defined|function main is undeclared"
)
_NO_FOLDER = re.compile(r"\bcd: (?:can't cd to )?\S+|^The system cannot find the path specified\.?$")
#: cmd/go/internal/generate: the directive, the program, and how it ended.
_DIRECTIVE = re.compile(r"(\S+\.go:\d+): running \"([^\"]+)\": (.+)")
_TEST = re.compile(r"--- FAIL: (\S+)|^(panic: .*)|^FAIL\t(\S+)")


def classify(output: str, exit_code: int, timed_out: bool, *, step: Step = "build", seconds: float = 0) -> Failure:
    """The failure behind the output of a go command.

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
    lines = output_lines(output)
    if step == "test":
        failed = _test(lines)
        if failed:
            return failed
    if step == "generate":
        printed = [line for line in lines if not _DIRECTIVE.match(line)]
        return _no_generator(lines) or by_rule(RULES, printed) or _compile(printed, step) or _generate(lines, exit_code)
    return by_rule(RULES, lines) or _compile(lines, step) or _no_folder(lines) or _unknown(lines, exit_code)


def _no_folder(lines: list[str]) -> Failure | None:
    """The shell found no folder to run go in; cmd.exe does not name it."""
    found = next((line for line in lines if _NO_FOLDER.search(line)), None)
    remedy = "correct build.directory: a folder of the repository at that commit, the one with go.mod"
    return Failure("compile", f"the commit has no such folder: {short(found)}", remedy) if found else None


def _compile(lines: list[str], step: Step) -> Failure | None:
    errors = list(_compile_errors(lines))
    if not errors:
        return None
    first = errors[0]
    cause = first + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else "")
    if step == "vet" and not any(line.startswith("vet: ") for line in lines):
        return Failure("vet", cause, "correct it in the source, or set build.vet: false for this emergency")
    remedy = "correct it in the source; the same commit fails on every machine"
    if "build constraints exclude all Go files" in first:
        remedy = f"{remedy}; where the package has C in it, set build.cgo (docs/cgo.md)"
    if re.search(r"directory not found|no Go files in", first):
        keys = "build.package (or build.binaries, build.generate, build.directory)"
        remedy = f"correct {keys}, or the source; the same commit fails on every machine"
    if re.search(r":1:1: expected 'package', found", first):
        remedy = (
            "if it is a symbolic link in the repository: every builder checks that out as a text file with its target, "
            "as Windows does; put the code itself there, or in a package that both import"
        )
    return Failure("compile", cause, remedy)


def _compile_errors(lines: list[str]) -> Iterator[str]:
    for line in lines:
        match = _AT_POSITION.match(line)
        if match:
            file, row, column, text = match.groups()
            yield short(f"{':'.join(part for part in (_posix(file), row, column) if part)}: {text}")
        elif _OTHER_ERROR.search(line):
            yield short(line)


def _test(lines: list[str]) -> Failure | None:
    if any("[build failed]" in line or "[setup failed]" in line for line in lines):
        return None
    hits = [match for line in lines if (match := _TEST.search(line))]
    names = [match.group(1) for match in hits if match.group(1)]
    if not hits:
        return None
    position = next(iter(match.group() for line in lines if (match := re.match(r"\S+_test\.go:\d+: .*", line))), "")
    what = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    cause = ": ".join(part for part in (what or (hits[0].group(2) or hits[0].group(3)), position) if part)
    return Failure("test", short(cause), "correct it in the source, or set build.test: false for this emergency")


def _no_generator(lines: list[str]) -> Failure | None:
    for line in lines:
        found = _DIRECTIVE.match(line)
        if found and "executable file not found" in found[3]:
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
            printed = next((before for before in reversed(lines[:number]) if said_something(before)), None)
            cause = f"{_posix(found[1])}: {found[2]}: {found[3]}: {printed or 'it printed nothing'}"
            return Failure("generate", short(cause), "correct the generator, or commit what it makes")
    return _unknown(lines, exit_code)


def _posix(path: str) -> str:
    return path.replace("\\", "/")


def _unknown(lines: list[str], exit_code: int) -> Failure:
    cause = f"exit status {exit_code}: {last_lines(lines)}"
    return Failure("unknown", cause, "read the whole output, or run again with -vvv")
