"""Variables of go's and git's environment that group data may not set, with the right key for each."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gofallback.redact import holds_secret, names_secret

#: Variables that gofallback sets or removes for every command on a builder: a value elsewhere would be ignored.
RESERVED = frozenset(
    {
        *("CGO_ENABLED", "GOOS", "GOARCH", "GOROOT", "GOTOOLCHAIN", "GOENV", "GOTELEMETRY"),
        *("GOCACHE", "GOMODCACHE", "GOTMPDIR", "GOPATH", "PATH", "TEMP", "TMP", "TMPDIR"),
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_EXEC_PATH", "GIT_TEMPLATE_DIR"),
        *("GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL"),
    }
)
#: Variables that ``build.cgo`` sets.
CGO = frozenset(
    {
        *("CC", "CXX", "AR", "STRIP", "CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_LDFLAGS"),
        *("PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "PKG_CONFIG_SYSROOT_DIR"),
    }
)
#: Variables that change the bytes of a product or its modules (go help environment). Set by a service they are part of
#: the artifact's key; set for a builder they would give other bytes under the same key.
_PRODUCT = re.compile(
    r"GO(FLAGS|EXPERIMENT|FIPS140|AMD64|ARM|ARM64|386|MIPS|MIPS64|MIPS64LE|MIPSLE|PPC64|PPC64LE|RISCV64|WASM)"
    r"|GOWORK|GO111MODULE|GOROOT_FINAL|GCCGO|GCCGOTOOLDIR"
)


def reserved_problem(environment: Mapping[str, str]) -> str | None:
    """The clause about a variable that gofallback sets itself, or None."""
    name = next((name for name in environment if name.upper() in RESERVED), None)  # Windows ignores their case
    return f"{name} is set by gofallback; remove it" if name else None


def secret_in(environment: Mapping[str, str]) -> str | None:
    """A variable with the name or the value of a secret, or None."""
    found = (name for name, value in environment.items() if names_secret(name, sure=True) or holds_secret(value))
    return next(found, None)


def builder_problem(environment: Mapping[str, str]) -> str | None:
    """The clause about a variable that does not belong in ``builder.environment``, with its right place; or None."""
    if problem := reserved_problem(environment):
        return problem
    secret = secret_in(environment)
    if secret is not None:
        return (
            f"{secret} should not hold a password: it would be part of command lines on the builder, which every login "
            "there may read. A login for modules belongs in build.private.logins (docs/modules.md); for a proxy that "
            "needs one, set builder.delivery: push and build.modules: controller, so that the builder needs no proxy"
        )
    for name in environment:
        if name.upper() in CGO or name.upper().startswith("CGO_"):
            return f"{name} changes the binary; set it in the service's build.cgo (docs/cgo.md)"
        if _PRODUCT.fullmatch(name.upper()):
            return (
                f"{name} changes the binary, and a variable of one builder is no part of an artifact's key; set it in "
                "the service's build.environment, so that every builder makes the same bytes"
            )
    return None
