"""A program in production that gofallback did not install: how to rebuild it, by the build info in its bytes."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

from pyinfra.api.host import Host

from gofallback.artifact.binary import BinaryInfo, inspect
from gofallback.artifact.errors import ArtifactError
from gofallback.artifact.spec import BuildSpec
from gofallback.connectors.local import TransferError
from gofallback.deploys.building.untrusted import SAFE_SETTINGS, invalid_fields, is_safe_setting
from gofallback.deploys.run.comparisons import record_folder
from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import RefusedError
from gofallback.git import resolve
from gofallback.gobuild import plan
from gofallback.model import Service
from gofallback.operations.remote import fetch_file
from gofallback.operations.target.channel import BrokenError, run
from gofallback.source.model import ResolvedSource
from gofallback.source.refs import FULL_SHA

_SPEC: Key[BuildSpec] = Key("recovered spec")


def recover_spec(ctx: RunContext, host: Host, service: Service, path: str) -> tuple[BuildSpec, str] | None:
    """The build that makes a target's program again, and the program's SHA-256 there; None: missing, with a note.

    Raises:
        RefusedError: its build info is not enough.
        SourceError: its commit cannot be fetched.
    """
    digest = _hash(ctx, host, path)
    if digest is None:
        ctx.run.leave_uncompared(f"{path} on {host.name}", "it is not there or cannot be read")
        return None
    recover = partial(_recovered, ctx, host, service)
    return ctx.once(_SPEC(digest), lambda: recover(_fetched(ctx, host, path, digest), path)), digest


def _hash(ctx: RunContext, host: Host, path: str) -> str | None:
    try:
        code, lines = run(ctx.state, host, f"sha256sum -- {shlex.quote(path)}", sudo=ctx.fleet(host).target.sudo)
    except BrokenError:
        return None
    return lines[-1].split()[0].removeprefix("\\") if code == 0 and lines else None


def _fetched(ctx: RunContext, host: Host, path: str, digest: str) -> BinaryInfo:
    local = record_folder(ctx.run) / f"{Path(path).name}-{digest[:12]}.{host.name}"
    local.parent.mkdir(parents=True, exist_ok=True)
    try:
        fetch_file(host, path, local)
        return inspect(local)
    except TransferError as error:
        raise RefusedError(f"{error}; nothing was changed") from None
    except ArtifactError as error:
        raise RefusedError(f"{host.name}: {path}: {error}; --data binary=... names the program itself") from None


def _recovered(ctx: RunContext, host: Host, service: Service, info: BinaryInfo, path: str) -> BuildSpec:
    build, name = info.build, f"{host.name}: {path}"
    if build is None:
        raise RefusedError(f"{name}: has no Go build info, so its source is not known")
    if not build.revision:
        raise RefusedError(
            f"{name}: has no commit in it (built outside of git, or with -buildvcs=false), so it cannot be built again"
        )
    if not FULL_SHA.fullmatch(build.revision):
        raise RefusedError(
            f"{name}: names {build.revision!r:.80} as its commit, expected 40 hex digits; nothing was changed"
        )
    if build.settings.get("vcs.modified") == "true":
        ctx.run.note(f"{name}: was built from a work tree with changes (vcs.modified=true), which no commit has")
    source, platform = source_at(ctx, service, build.revision), state_of(ctx, host).platform
    planned = [spec for spec in plan.specs(service, source, build.release, [platform]) if spec.platform == platform]
    # `--data binary` may name an extra binary of the service
    meant = next((spec for spec in planned if spec.binary == Path(path).name), None)
    meant = meant or next(spec for spec in planned if spec.binary == service.binary)
    reported = {key: value for key, value in build.settings.items() if key in SAFE_SETTINGS}
    tags = tuple(sorted({tag for tag in build.settings.get("-tags", "").split(",") if tag}))
    found = meant.model_copy(
        update={
            "go_version": build.release,
            "tags": tags,
            "strip": info.stripped,
            "environment": tuple(sorted((dict(meant.environment) | reported).items())),
        }
    )
    _refuse_invalid(name, found, service, reported)
    if tags != meant.tags:
        ctx.run.note(
            f"{name}: was built with the tags {','.join(tags) or '(none)'}, group data says "
            f"{','.join(meant.tags) or '(none)'}; it is compared with a build as its own bytes say"
        )
    return found


def _refuse_invalid(name: str, spec: BuildSpec, service: Service, settings: dict[str, str]) -> None:
    """Refuse values that cannot be: they become parts of paths and commands on the builder."""
    field = next(invalid_fields(spec, service.name, spec.platform), None)
    field = field or next((key for key, value in settings.items() if not is_safe_setting(key, value)), None)
    if field is not None:
        value = settings.get(field) or getattr(spec, field)
        raise RefusedError(f"{name}: names {str(value)!r:.80} as its {field}, which cannot be; nothing was changed")


def source_at(ctx: RunContext, service: Service, commit: str) -> ResolvedSource:
    """A service's source at a commit that was built earlier.

    Raises:
        SourceError: it cannot be fetched.
    """
    exact = service.model_copy(update={"source": service.source.model_copy(update={"ref": commit})})
    return resolve.resolve(exact, ctx.run.home.mirrors, offline=ctx.run.options.source_offline)
