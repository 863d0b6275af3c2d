"""What the lines of a failed go command mean, as a table: the kind of failure, its cause in words, and the remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from gofallback.gobuild.failure_cgo import CGO_RULES
from gofallback.gobuild.module_failure import MISMATCH_REMEDY, OUTSIDE, OUTSIDE_CAUSE, OUTSIDE_REMEDY

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


@dataclass(frozen=True)
class Rule:
    """What a line of the output means."""

    kind: Kind
    pattern: re.Pattern[str]
    remedy: str
    cause: str = "{0}"
    """``{0}`` is the matching line, ``{1}``... the groups of the pattern, ``{module}`` the module the output names."""


def _rule(kind: Kind, pattern: str, remedy: str, cause: str = "{0}") -> Rule:
    return Rule(kind, re.compile(pattern), remedy, cause)


#: The first rule that matches any line counts: a full disk also looks like a hundred compile errors.
RULES: tuple[Rule, ...] = (
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
