"""The C part of a build: the glibc of the targets, the pinned Zig, the sysroot by its content."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from gofallback.artifact.cgo_spec import CgoSpec
from gofallback.artifact.spec import BuildSpec
from gofallback.controller import sysroot as sysroots
from gofallback.controller.sysroot import Sysroot, SysrootError
from gofallback.deploys.run.context import Key, RunContext
from gofallback.gobuild.cgo import cgo_spec, gnu_triple, oldest_glibc
from gofallback.model import Service, Toolchain


def cgo_for(
    ctx: RunContext, service: Service, platform: str, toolchain: Toolchain, glibc: Iterable[str]
) -> CgoSpec | None:
    """The C compiler and flags of a service's binaries for one platform, or None without C.

    Args:
        ctx: the run.
        service: group data.
        platform: GOOS/GOARCH.
        toolchain: of the builder.
        glibc: glibc versions of the targets with that platform that get the service.

    Raises:
        CgoError: the service cannot be built for the platform.
        SysrootError: the sysroot cannot be read.
    """
    build = service.build
    if build.cgo is None:
        return None
    where = f"services.{service.name}.build.cgo"
    spec = cgo_spec(
        build.cgo,
        platform,
        build.linkage,
        where=where,
        zig=toolchain.zig,
        glibc=oldest_glibc(glibc),
        environment=build.environment,
    )
    if build.cgo.sysroot is None:
        return spec
    found = _sysroot(ctx, build.cgo.sysroot, platform, f"{where}.sysroot")
    return spec.model_copy(update={"sysroot": found.digest})


def sysroot_cache(ctx: RunContext) -> Path:
    """Folder of packed sysroots on the controller."""
    return ctx.run.home.downloads / "sysroots"


_SYSROOT: Key[Sysroot] = Key("sysroot of a path")
_BY_DIGEST: Key[Sysroot | None] = Key("sysroot of a digest")


def _sysroot(ctx: RunContext, path: str, platform: str, where: str) -> Sysroot:
    """The sysroot that group data names. Read once a run: its files may be many."""
    named = path.replace("{platform}", platform.replace("/", "-")).replace("{triple}", gnu_triple(platform))
    return ctx.once(_SYSROOT(named), lambda: sysroots.read(Path(named).expanduser(), sysroot_cache(ctx), where=where))


def sysroots_for(ctx: RunContext, service: Service | None, specs: Iterable[BuildSpec]) -> dict[str, Sysroot]:
    """The sysroots of builds, by their digests. A sysroot that is not available is left out, with a note.

    A release in production may have been built with another sysroot than group data names today. Its manifest has the
    digest, and only a sysroot with exactly that content is used.

    Args:
        ctx: the run.
        service: the service that is built; None: our agent.
        specs: its builds.
    """
    found = {}
    for spec in specs:
        digest = spec.cgo.sysroot if spec.cgo else ""
        if digest:
            found[digest] = ctx.once(_BY_DIGEST(digest), partial(_available_sysroot, ctx, service, spec, digest))
    return {digest: sysroot for digest, sysroot in found.items() if sysroot is not None}


def _available_sysroot(ctx: RunContext, service: Service | None, spec: BuildSpec, digest: str) -> Sysroot | None:
    """The sysroot with that digest: from group data, else as packed earlier by the controller."""
    problems = []
    cgo = service.build.cgo if service else None
    packed = sysroot_cache(ctx) / f"{digest}.tar"
    try:
        if cgo is not None and cgo.sysroot is not None:
            current = _sysroot(ctx, cgo.sysroot, spec.platform, f"services.{spec.service}.build.cgo.sysroot")
            if current.digest == digest:
                return current
            problems.append(f"build.cgo.sysroot is {current.digest[:12]} now")
    except SysrootError as error:
        problems.append(str(error))
    try:
        if packed.is_file():
            earlier = sysroots.read(packed, sysroot_cache(ctx), where=str(packed))
            if earlier.digest == digest:
                return earlier
            problems.append(f"{packed} holds another ({earlier.digest[:12]}): it was changed, remove it")
    except SysrootError as error:
        problems.append(str(error))
    ctx.run.note(
        f"{spec.service} {spec.version} was built with the sysroot {digest[:12]}, which the controller does not have"
        + (f" ({'; '.join(problems)})" if problems else "")
    )
    return None
