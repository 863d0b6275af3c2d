"""What a run asks of the C compiler: the glibc its targets have, the Zig that is pinned, the sysroot by its content."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gofallback.build.cgo import CgoSpec, cgo_spec, gnu_triple, oldest_glibc
from gofallback.build.spec import BuildSpec
from gofallback.controller import sysroot as sysroots
from gofallback.controller.sysroot import Sysroot
from gofallback.deploys._site import Site
from gofallback.model import Service, Toolchain


def asked(site: Site, service: Service, platform: str, toolchain: Toolchain, glibc: Iterable[str]) -> CgoSpec | None:
    """What decides the bytes of a service's binaries for one platform; None: it has no C.

    Args:
        site: the run.
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
    found = _sysroot(site, build.cgo.sysroot, platform, f"{where}.sysroot")
    return spec.model_copy(update={"sysroot": found.digest})


def cache(site: Site) -> Path:
    """Folder of packed sysroots on the controller."""
    return site.run.home.downloads / "sysroots"


def _sysroot(site: Site, path: str, platform: str, where: str) -> Sysroot:
    """Read once a run, whoever asks: its files may be many."""
    named = path.replace("{platform}", platform.replace("/", "-")).replace("{triple}", gnu_triple(platform))
    with site.lock:
        known: dict[str, Sysroot] = site.memo.setdefault("sysroots", {})
        if named not in known:
            known[named] = sysroots.read(Path(named).expanduser(), cache(site), where=where)
        return known[named]


def sysroots_for(site: Site, specs: Iterable[BuildSpec]) -> dict[str, Sysroot]:
    """The sysroots of what is built, by their names.

    One that group data names no more (what runs in production was built with it) comes from the controller's cache.
    """
    known: dict[str, Sysroot] = site.memo.get("sysroots", {})
    found = {one.digest: one for one in known.values()}
    for spec in specs:
        digest = spec.cgo.sysroot if spec.cgo else ""
        packed = cache(site) / f"{digest}.tar"
        if digest and digest not in found and packed.is_file():
            found[digest] = sysroots.read(packed, cache(site), where=str(packed))
    return found
