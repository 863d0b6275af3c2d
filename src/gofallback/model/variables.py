"""Which variables of go's and git's environment group data may set, and where the others belong."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gofallback.redact import holds_secret, names_secret

#: What every command on a builder gets from us, or must not have: said elsewhere it would be ignored without a word.
OURS = frozenset(
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
#: What changes the bytes of a product, or which modules they come from (go help environment): part of an artifact's key
#: where a service says it. A builder that said it would make other bytes under the same key.
_PRODUCT = re.compile(
    r"GO(FLAGS|EXPERIMENT|FIPS140|AMD64|ARM|ARM64|386|MIPS|MIPS64|MIPS64LE|MIPSLE|PPC64|PPC64LE|RISCV64|WASM)"
    r"|GOWORK|GO111MODULE|GOROOT_FINAL|GCCGO|GCCGOTOOLDIR"
)


def set_by_us(environment: Mapping[str, str]) -> str | None:
    """The clause about a variable that gofallback sets itself, or None."""
    name = next((name for name in environment if name.upper() in OURS), None)  # Windows knows no case in them
    return f"{name} is set by gofallback; remove it" if name else None


def secret_in(environment: Mapping[str, str]) -> str | None:
    """The variable that is a secret by its name, or holds a password or a token; None when there is none."""
    found = (name for name, value in environment.items() if names_secret(name, sure=True) or holds_secret(value))
    return next(found, None)


def unfit_for_builder(environment: Mapping[str, str]) -> str | None:
    """What does not belong into ``builder.environment``: one clause that says why and where it does belong, or None."""
    if trouble := set_by_us(environment):
        return trouble
    secret = secret_in(environment)
    if secret is not None:
        return (
            f"{secret} should not hold a password: it would stand in command lines on the builder, which every login "
            "there may read. A login for modules belongs in build.private.logins (docs/modules.md); for a proxy that "
            "wants one, set builder.delivery: push and build.modules: controller, so that the builder needs no proxy"
        )
    for name in environment:
        if name.upper() in CGO or name.upper().startswith("CGO_"):
            return f"{name} decides what is built; say it in the service's build.cgo (docs/cgo.md)"
        if _PRODUCT.fullmatch(name.upper()):
            return (
                f"{name} decides what is built, and what a builder alone knows is no part of an artifact's key; say it "
                "in the service's build.environment, where every builder makes the same bytes of it"
            )
    return None
