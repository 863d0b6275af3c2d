"""A program in production that something else brought there: how to build it again, by the build info in its bytes."""

from __future__ import annotations

import shlex
from pathlib import Path

from pyinfra.api.host import Host
from pyinfra.context import ctx_host

from gofallback.artifact.binary import BinaryInfo, inspect
from gofallback.artifact.errors import ArtifactError
from gofallback.build import plan
from gofallback.build.spec import BuildSpec
from gofallback.controller import git
from gofallback.deploys._compared import fetch, record_folder
from gofallback.deploys._credible import HARMLESS
from gofallback.deploys._site import RefusedError, Site
from gofallback.deploys._told import state_of
from gofallback.model import Service
from gofallback.operations.channel import BrokenError, run
from gofallback.source.model import ResolvedSource
from gofallback.source.refs import FULL_SHA


def spec_of(here: Site, host: Host, service: Service, path: str) -> tuple[BuildSpec, str] | None:
    """What has to be built to get a target's program again, and its SHA-256 there; None: not there, said in a note.

    Raises:
        RefusedError: it says too little of itself.
        SourceError: nobody has its commit.
    """
    digest = _hash(here, host, path)
    if digest is None:
        here.run.note(f"{host.name}: {path} is not there or cannot be read; left out of the comparison")
        return None
    known: dict[str, BuildSpec] = here.memo.setdefault("elsewhere", {})
    if digest not in known:
        known[digest] = _recovered(here, host, service, _fetched(here, host, path, digest), path)
    return known[digest], digest


def _hash(here: Site, host: Host, path: str) -> str | None:
    try:
        code, lines = run(here.state, host, f"sha256sum -- {shlex.quote(path)}", sudo=here.fleet(host).target.sudo)
    except BrokenError:
        return None
    return lines[-1].split()[0].removeprefix("\\") if code == 0 and lines else None


def _fetched(here: Site, host: Host, path: str, digest: str) -> BinaryInfo:
    local = record_folder(here) / f"{Path(path).name}-{digest[:12]}.{host.name}"
    local.parent.mkdir(parents=True, exist_ok=True)
    with ctx_host.use(host):
        problem = fetch(host, path, local)
    if problem:
        raise RefusedError(f"{problem}; nothing was changed")
    try:
        return inspect(local)
    except ArtifactError as error:
        raise RefusedError(f"{host.name}: {path}: {error}; --data binary=... names the program itself") from None


def _recovered(here: Site, host: Host, service: Service, info: BinaryInfo, path: str) -> BuildSpec:
    build, name = info.build, f"{host.name}: {path}"
    if build is None:
        raise RefusedError(f"{name}: has no Go build info, so nobody can tell what it was built from")
    if not build.revision:
        raise RefusedError(
            f"{name}: has no commit in it (built outside of git, or with -buildvcs=false), so nobody can build it again"
        )
    if not FULL_SHA.fullmatch(build.revision):
        raise RefusedError(
            f"{name}: names {build.revision!r:.80} as its commit, expected 40 hex digits; nothing was changed"
        )
    if build.settings.get("vcs.modified") == "true":
        here.run.note(f"{name}: was built from a work tree with changes (vcs.modified=true), which no commit has")
    source = source_at(here, service, build.revision)
    main = plan.specs(service, source, build.release, [state_of(here, host).platform])[0]
    environment = dict(main.environment) | {key: value for key, value in build.settings.items() if key in HARMLESS}
    tags = build.settings.get("-tags", "")
    return main.model_copy(
        update={
            "go_version": build.release,
            "tags": tuple(sorted(tag for tag in tags.split(",") if tag)),
            "strip": info.stripped,
            "environment": tuple(sorted(environment.items())),
        }
    )


def source_at(here: Site, service: Service, commit: str) -> ResolvedSource:
    """A service's source at a commit that was built earlier.

    Raises:
        SourceError: nobody has it.
    """
    exact = service.model_copy(update={"source": service.source.model_copy(update={"ref": commit})})
    return git.resolve(exact, here.run.home.mirrors, offline=here.run.options.source_offline)
