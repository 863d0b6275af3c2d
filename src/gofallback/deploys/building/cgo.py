"""What a run asks of the C compiler: the glibc its targets have, the Zig that is pinned, the sysroot by its content."""

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
    """What decides the bytes of a service's binaries for one platform; None: it has no C.

    Args:
        ctx: the run.
        service: group data.
        platform: GOOS/GOARCH.
        toolchain: of the builder.
        glibc: version of every target with that platform that gets the service and has glibc.

    Raises:
        CgoError: it cannot be built for the platform.
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
    """The sysroots of what is built, by their digests. A sysroot that is nowhere is left out, with a note.

    What runs in production may have been built with another sysroot than group data names today: its manifest has the
    digest, and only exactly that content is taken.

    Args:
        ctx: the run.
        service: what is built; None: our agent.
        specs: its builds.
    """
    found = {}
    for spec in specs:
        digest = spec.cgo.sysroot if spec.cgo else ""
        if digest:
            found[digest] = ctx.once(_BY_DIGEST(digest), partial(_available_sysroot, ctx, service, spec, digest))
    return {digest: sysroot for digest, sysroot in found.items() if sysroot is not None}


def _available_sysroot(ctx: RunContext, service: Service | None, spec: BuildSpec, digest: str) -> Sysroot | None:
    """The sysroot of that name: the one that group data names, else the one the controller once packed."""
    instead = []
    cgo = service.build.cgo if service else None
    packed = sysroot_cache(ctx) / f"{digest}.tar"
    try:
        if cgo is not None and cgo.sysroot is not None:
            now = _sysroot(ctx, cgo.sysroot, spec.platform, f"services.{spec.service}.build.cgo.sysroot")
            if now.digest == digest:
                return now
            instead.append(f"build.cgo.sysroot is {now.digest[:12]} now")
    except SysrootError as error:
        instead.append(str(error))
    try:
        if packed.is_file():
            kept = sysroots.read(packed, sysroot_cache(ctx), where=str(packed))
            if kept.digest == digest:
                return kept
            instead.append(f"{packed} holds another ({kept.digest[:12]}): somebody changed it, remove it")
    except SysrootError as error:
        instead.append(str(error))
    ctx.run.note(
        f"{spec.service} {spec.version} was built with the sysroot {digest[:12]}, which the controller does not have"
        + (f" ({'; '.join(instead)})" if instead else "")
    )
    return None
