"""Why a build failed and what to do about it, read from go's output. Pure.

The texts are those of cmd/go and the compiler, of git, of Linux, of Wine, and of Windows in English: go asks for those
first (syscall.Errno.Error); where a host has none, such a failure ends as ``unknown`` with its last lines shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from gofallback.build.failure_cgo import CGO_RULES
from gofallback.build.module_failure import MISMATCH_REMEDY, OUTSIDE, OUTSIDE_CAUSE, OUTSIDE_REMEDY

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
]
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


@dataclass(frozen=True)
class _Rule:
    kind: Kind
    pattern: re.Pattern[str]
    remedy: str
    cause: str = "{0}"
    """``{0}`` is the matching line, ``{1}``... the groups of the pattern, ``{module}`` the module the output names."""


def _rule(kind: Kind, pattern: str, remedy: str, cause: str = "{0}") -> _Rule:
    return _Rule(kind, re.compile(pattern), remedy, cause)


_PLACE = r"(?:vet: )?(?:\.[\\/])?((?:[A-Za-z]:)?[^\s:\"]+\.(?:go|s|c|h|mod|work|sum)):(\d+)(?::(\d+))?: (.+)"

#: The first rule that matches any line counts: a full disk also looks like a hundred compile errors.
_RULES: tuple[_Rule, ...] = (
    _rule(
        "disk",
        r"(?i)no space left on device|not enough space on the disk|disk quota exceeded|disk (?:is )?full",
        "make room on the builder's drive (deploys/wipe.py removes what gofallback keeps there) or move builder.root",
    ),
    _rule(
        "unknown",
        r"(?i)out of memory|cannot allocate memory|paging file is too small|insufficient system resources",
        "free memory on the builder, or lower builder.parallel_platforms",
    ),
    *(_rule("cgo", pattern, remedy, cause) for pattern, cause, remedy in CGO_RULES),
    _rule(
        "toolchain",
        r"requires go ?>=? ?([\w.]+) \(running go ([\w.]+)",
        "pin a Go of at least {1} in toolchain.pins and set build.go (or toolchain.go)",
        "the source needs Go {1}, the builder was told to use {2}: {0}",
    ),
    _rule(
        "toolchain",
        r"note: module requires Go ([\w.]+)|invalid go version|unknown block type: (?:toolchain|godebug|tool)"
        r"|unknown directive: (?:toolchain|godebug|tool|ignore)",
        "pin a newer Go in toolchain.pins and set build.go (or toolchain.go)",
        "the source needs a newer Go: {0}",
    ),
    _rule(
        "toolchain",
        r"cannot find GOROOT|go: no such tool|package \S+ is not in GOROOT"
        r"|version \"?go[\w.]+\"? does not match go tool",
        "remove the toolchain's folder on the builder; the next run unpacks it again",
        "the Go toolchain on the builder is damaged: {0}",
    ),
    _rule(
        "dependency",
        r"verifying (\S+): checksum mismatch",
        MISMATCH_REMEDY,
        "{1} is not the code that go.sum names (checksum mismatch)",
    ),
    _rule(
        "dependency",
        r"missing go\.sum entry.*? (\S+)(?: \(imported by|;|$)",
        "run `go mod tidy` in the source and commit go.sum",
        "go.sum lacks an entry: {0}",
    ),
    _rule(
        "dependency",
        r"could not read (?:Username|Password)|terminal prompts disabled|Permission denied \((?:publickey|password)"
        r"|Host key verification failed|Authentication failed|no (?:secure )?protocol found for repository"
        r"|(?i:\b401 unauthorized|\b403 forbidden)|If this is a private repository",
        "set build.modules: controller (the controller brings them, with its own login), or vendor them (`go mod "
        "vendor`); gofallback never puts a credential on a builder",
        "no credential for {module}: {0}",
    ),
    _rule(
        "dependency",
        r"(?i)dial tcp|no such host|connection refused|i/o timeout|TLS handshake timeout|x509:|proxyconnect"
        r"|network is unreachable|Could not resolve host",
        "set build.modules: controller, which needs no network there, or give the builder a proxy it can reach "
        "(build.private.proxy, builder.environment HTTPS_PROXY)",
        "{module} cannot be downloaded: {0}",
    ),
    _rule(
        "dependency",
        r"reading file:///\S*/modproxy/(\S+): ",
        "run `go mod tidy` in the source and commit go.sum; if it names that module, remove the folder cache/modproxy "
        "on the builder and run again: all of it is sent anew",
        "the modules that the controller brought lack {1}: {0}",
    ),
    _rule(
        "dependency",
        r"\bzip: (?:not a valid zip file|checksum error|unsupported compression algorithm)",
        "remove the folders cache/modproxy and cache/gomodcache on the builder and run again; if it comes back, look "
        "after its disk",
        "the archive of a module is damaged on the builder: {0}",
    ),
    _rule(
        "dependency",
        OUTSIDE,
        OUTSIDE_REMEDY,
        OUTSIDE_CAUSE,
    ),
    _rule(
        "dependency",
        r"inconsistent vendoring",
        "run `go mod vendor` in the source and commit vendor/, or set build.modules: download",
        "vendor/ does not fit go.mod: {0}",
    ),
    _rule(
        "dependency",
        r"module lookup disabled by GOPROXY=off|cannot find module providing|no required module provides package"
        r"|404 Not Found|410 Gone|@v/\S+: .*(?:no such file|cannot find|not found)|unknown revision"
        r"|no matching versions"
        r"|invalid version|module \S+: not found|unrecognized import path|is not in std|updates to go\.mod needed"
        r"|does not appear to be a git repository|found, but does not contain package|errors parsing go\.mod"
        r"|go\.mod file not found"
        r"|[Rr]epository .*not found|repository does not exist",
        "correct go.mod (`go mod tidy`), push the missing version, or set build.environment GOPROXY to a proxy that "
        "has it",
        "not found: {0}",
    ),
    _rule(
        "permission",
        r"(?i)access (?:is )?denied|used by another process|sharing violation|permission denied"
        r"|operation not permitted|contains a virus"
        r"|locked a portion of the file|user-mapped section open",
        "exclude builder.root from the antivirus and close what has the file open; the builder's user must own the "
        "folder",
    ),
    _rule(
        "unknown",
        r"error obtaining VCS status",
        "remove the checkout on the builder (work\\<service>) and run again",
    ),
)
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
    for rule in _RULES:
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
