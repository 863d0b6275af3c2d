"""The releases that each target gets, made once a run, and the changes that they make there, as text."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence

import click
from pyinfra.api.host import Host

from gofallback.controller.store import MANIFEST, Stored
from gofallback.deploys.releasing.desired import DesiredRelease, desired_from_source, desired_from_store
from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.target_state import state_of
from gofallback.provenance.attest import attached_files
from gofallback.redact import names_secret, redact
from gofallback.release.contents import contents
from gofallback.release.plan import Step, plan_steps
from gofallback.release.upload import Upload
from gofallback.release.upload_plan import LocalProgram, upload_for
from gofallback.rollout.phases import TargetPhase

#: A line of an environment file in a diff; only there values stand in quotes.
_VARIABLE = re.compile(r"(?i)^(?P<name>[-+ ]?[A-Z0-9_]+)=\".")


_DESIRED: Key[list[DesiredRelease]] = Key("desired releases")


def desired_releases(ctx: RunContext, host: Host) -> list[DesiredRelease]:
    """The releases that this run puts on a target; made once."""

    def make() -> list[DesiredRelease]:
        from_store = ctx.run.command.releases_from == "store"
        found = desired_from_store(ctx, host) if from_store else desired_from_source(ctx, host)
        for desired in found:
            _record_desired(ctx, host, desired)
        return found

    return ctx.once(_DESIRED(host.name), make)


def _record_desired(ctx: RunContext, host: Host, desired: DesiredRelease) -> None:
    outcome = ctx.run.outcome(host.name, desired.service.name)
    state = state_of(ctx, host).services[desired.service.name]
    outcome.release, outcome.commit = desired.files.id, desired.commit
    outcome.previous = outcome.live = state.current
    stored = stored_binary(ctx, desired)
    live = state.hashes.get(f"bin/{desired.service.binary}") if state.current == desired.files.id else None
    outcome.sha256 = stored.manifest.sha256 if stored else live
    if state.health is not None and state.current is not None:
        outcome.healthy = state.health.healthy  # of the release that runs now: this run may never switch it
    if not changes(ctx, host, desired):
        outcome.phase = TargetPhase.UNCHANGED


def stored_binary(ctx: RunContext, desired: DesiredRelease) -> Stored | None:
    """The artifact of a release's main binary, if it exists by now."""
    return ctx.run.artifacts.get(desired.binary.key)


def changes(ctx: RunContext, host: Host, desired: DesiredRelease) -> list[Step]:
    """Every change on one target; empty: nothing to do."""
    stored = stored_binary(ctx, desired)
    state = state_of(ctx, host).services[desired.service.name]
    artifacts = ((spec.binary, ctx.run.artifacts.get(spec.key)) for spec in desired.extra_binaries)
    extra = {name: one.manifest.sha256 for name, one in artifacts if one is not None}
    return plan_steps(state, desired.files, desired.service, stored.manifest.sha256 if stored else None, extra)


def show_steps(ctx: RunContext, host: Host, desired: DesiredRelease, steps: Sequence[Step]) -> None:
    """Log every change on a target; with --diff also the lines that change."""
    for step in steps:
        host.log(f"{desired.service.name}: {step.text}")
        if step.diff and ctx.state.config.DIFF:
            for line in step.diff.splitlines():
                click.echo(f"        {_coloured(masked(line))}", err=True)


def masked(line: str) -> str:
    """A line of a diff, with tokens and the values of variables with a secret's name hidden."""
    found = _VARIABLE.match(line)
    return f'{found["name"]}="***"' if found and names_secret(found["name"]) else redact(line)


def _coloured(line: str) -> str:
    if line.startswith(("---", "+++", "@@")):
        return click.style(line, bold=True)
    return click.style(line, fg={"+": "green", "-": "red"}.get(line[:1]))


def upload(ctx: RunContext, host: Host, desired: DesiredRelease, programs: Sequence[Stored]) -> Upload | None:
    """The upload that a target needs; None: it has everything.

    Args:
        ctx: the run.
        host: the target.
        desired: the release.
        programs: the artifacts of `DesiredRelease.programs`.
    """
    binary, *extra, agent = programs
    return upload_for(
        state_of(ctx, host),
        desired.service,
        desired.files,
        manifest=_manifest(desired, binary, extra, agent),
        metadata=attached_files(binary.path.parent) | _beside_extra(extra),
        binary=_program(binary),
        extra_binaries={one.manifest.spec.binary: _program(one) for one in extra},
        agent=_program(agent),
        run_id=ctx.run.id,
        minimum_free_mb=ctx.fleet(host).target.minimum_free_mb,
    )


def _program(stored: Stored) -> LocalProgram:
    return LocalProgram(path=stored.path, sha256=stored.manifest.sha256, size=stored.manifest.size)


def _beside_extra(extra: Sequence[Stored]) -> dict[str, bytes]:
    """Manifest, provenance and SBOM of each extra binary, in files whose names begin with the binary's."""
    found: dict[str, bytes] = {}
    for one in extra:
        name = one.manifest.spec.binary
        files = attached_files(one.path.parent)
        with contextlib.suppress(OSError):  # `gofallback verify` reports it as missing
            # the bytes that were signed: a later gofallback would write the same manifest with more keys
            files[MANIFEST] = (one.path.parent / MANIFEST).read_bytes()
        found |= {f"{name}.{file}": content for file, content in files.items()}
    return found


def _manifest(desired: DesiredRelease, binary: Stored, extra: Sequence[Stored], agent: Stored) -> bytes:
    """manifest.json of a release: the main binary's manifest, and the contents of the folder.

    Without contents there is no such key: the manifest of a release of one binary is as in earlier versions.
    """
    content = binary.manifest.model_dump(mode="json")
    content["release"] = desired.files.id
    content["agent_sha256"] = agent.manifest.sha256
    others = contents(desired.files, {one.manifest.spec.binary: one.manifest.sha256 for one in extra})
    if others:
        content["contents"] = others
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
