"""What the output of a failed go command on a builder means, as a table. Pure."""

from __future__ import annotations

from gofallback.gobuild.failure import Rule
from gofallback.gobuild.failure_cgo import CGO_RULES

#: Emptying a cache is no remedy for a wrong hash: go asks the same server again.
MISMATCH_REMEDY = (
    "somebody moved the version's tag, or the server or a proxy gives other code: compare with the module's author "
    "before anything is built; only if the new code is wanted, update go.sum in the source, in a reviewed commit"
)
OUTSIDE = Rule(
    "dependency",
    r"\(replaced by (?:\.\.?/\S*|/\S*)\): reading \S+go\.mod: |replacement directory \S+ does not exist"
    r"|cannot load module \S+ listed in go\.work file: open ",
    "nothing beside the commit is built: put that module into the repository, require a version of it, or set "
    "source.submodules: true where the folder is one; build.environment GOWORK: 'off' leaves go.work out",
    "go.mod (`replace`) or go.work leads to a folder that is not in the commit: {0}",
)
RULES: tuple[Rule, ...] = (
    Rule(
        "disk",
        r"(?i)no space left on device|not enough space on the disk|disk full",  # Linux, Windows, Wine
        "make room on the builder's drive (deploys/wipe.py removes what gofallback keeps there) or move builder.root",
    ),
    Rule(
        "unknown",
        r"(?i)\bout of memory\b|cannot allocate memory|paging file is too small",  # Go and C compilers, Linux, Windows
        "free memory on the builder, or lower builder.parallel_platforms",
    ),
    *CGO_RULES,
    Rule(
        "toolchain",
        r"requires go ?>=? ?([\w.]+) \(running go ([\w.]+)",
        "pin a Go of at least {1} in toolchain.pins and set build.go (or toolchain.go)",
        "the source needs Go {1}, the builder has to use {2}: {0}",
    ),
    Rule(
        "toolchain",
        r"go: cannot find GOROOT|go: no such tool ",
        "remove the toolchain's folder on the builder; the next run unpacks it again",
        "the Go toolchain on the builder is damaged: {0}",
    ),
    Rule(
        "dependency",
        r"verifying (\S+): checksum mismatch",
        MISMATCH_REMEDY,
        "{1} is not the code that go.sum names (checksum mismatch)",
    ),
    Rule(
        "dependency",
        r"missing go\.sum entry.*? (\S+)(?: \(imported by|;|$)",
        "run `go mod tidy` in the source and commit go.sum",
        "go.sum lacks an entry: {0}",
    ),
    Rule(
        "dependency",
        r"could not read Username|Permission denied \((?:publickey|password)|Host key verification failed"
        r"|Authentication failed|no secure protocol found for repository|: 401 Unauthorized|: 403 Forbidden",
        "set build.modules: controller (the controller brings them, with its own login), or vendor them (`go mod "
        "vendor`); gofallback never puts a credential on a builder",
        "no credential for {module}: {0}",
    ),
    Rule(
        "dependency",
        r'Get "https?://|Could not resolve host|[Cc]onnection refused|Network is unreachable',
        "set build.modules: controller, which needs no network there, or give the builder a proxy it can reach "
        "(build.private.proxy, builder.environment HTTPS_PROXY)",
        "{module} cannot be downloaded: {0}",
    ),
    Rule(
        "dependency",
        r"\bzip: (?:not a valid zip file|checksum error)",
        "remove the folders cache/modproxy and cache/gomodcache on the builder and run again; if it comes back, look "
        "after its disk",
        "the archive of a module is damaged on the builder: {0}",
    ),
    OUTSIDE,
    Rule(
        "dependency",
        r"errors parsing go\.mod:\s+(.+)",
        "correct go.mod in the source (`go mod tidy`)",
        "go.mod cannot be read: {1}",
    ),
    Rule(
        "dependency",
        r"updates to go\.mod needed",
        "run `go mod tidy` in the source and commit go.mod and go.sum",
    ),
    Rule(
        "dependency",
        r"inconsistent vendoring",
        "run `go mod vendor` in the source and commit vendor/, or set build.modules: download",
        "vendor/ does not fit go.mod: {0}",
    ),
    Rule(
        "dependency",
        r"module lookup disabled by GOPROXY=off|no required module provides package|404 Not Found"
        r"|@v/\S+: .*(?:no such file|cannot find|not found)|unknown revision|invalid version|unrecognized import path"
        r"|is not in std|does not appear to be a git repository|go\.mod file not found",
        "correct go.mod (`go mod tidy`), push the missing version, or set build.environment GOPROXY to a proxy that "
        "has it",
        "not found: {0}",
    ),
    Rule(
        "permission",
        r"(?i)access (?:is )?denied|used by another process|sharing violation|permission denied|operation not permitted"
        r"|contains a virus|locked a portion of the file|user-mapped section open",
        "exclude builder.root from the antivirus and close what has the file open; the builder's user must own the "
        "folder",
    ),
    Rule(
        "unknown",
        r"error obtaining VCS status",
        "remove the checkout on the builder (work\\<service>) and run again",
    ),
)
