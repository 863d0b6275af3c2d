"""What each target is to get, memoised for the run, and what that changes there, in words."""

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
    """The releases that this run puts on a target; worked out once."""

    def make() -> list[DesiredRelease]:
        from_store = ctx.run.command.releases_from == "store"
        found = desired_from_store(ctx, host) if from_store else desired_from_source(ctx, host)
        for want in found:
            _record_desired(ctx, host, want)
        return found

    return ctx.once(_DESIRED(host.name), make)


def _record_desired(ctx: RunContext, host: Host, want: DesiredRelease) -> None:
    outcome = ctx.run.outcome(host.name, want.service.name)
    found = state_of(ctx, host).services[want.service.name]
    outcome.release, outcome.commit = want.files.id, want.commit
    outcome.previous = outcome.live = found.current
    stored = stored_binary(ctx, want)
    live = found.hashes.get(f"bin/{want.service.binary}") if found.current == want.files.id else None
    outcome.sha256 = stored.manifest.sha256 if stored else live
    if found.health is not None and found.current is not None:
        outcome.healthy = found.health.healthy  # of what runs now, also when this run will not come to change it
    if not changes(ctx, host, want):
        outcome.phase = TargetPhase.UNCHANGED


def stored_binary(ctx: RunContext, want: DesiredRelease) -> Stored | None:
    """The artifact of a wanted release, if it exists by now."""
    return ctx.run.artifacts.get(want.binary.key)


def changes(ctx: RunContext, host: Host, want: DesiredRelease) -> list[Step]:
    """Every change on one target; empty: nothing to do."""
    stored = stored_binary(ctx, want)
    found = state_of(ctx, host).services[want.service.name]
    artifacts = ((spec.binary, ctx.run.artifacts.get(spec.key)) for spec in want.extra_binaries)
    further = {name: one.manifest.sha256 for name, one in artifacts if one is not None}
    return plan_steps(found, want.files, want.service, stored.manifest.sha256 if stored else None, further)


def show_changes(ctx: RunContext, host: Host, want: DesiredRelease) -> None:
    """Say every change, host by host; with --diff also the text of what changes."""
    for step in changes(ctx, host, want):
        host.log(f"{want.service.name}: {step.text}")
        if step.diff and ctx.state.config.DIFF:
            for line in step.diff.splitlines():
                click.echo(f"        {_coloured(masked(line))}", err=True)


def masked(line: str) -> str:
    """A line of a diff without the value of a variable whose name sounds like a secret's, and without tokens."""
    found = _VARIABLE.match(line)
    return f'{found["name"]}="***"' if found and names_secret(found["name"]) else redact(line)


def _coloured(line: str) -> str:
    if line.startswith(("---", "+++", "@@")):
        return click.style(line, bold=True)
    return click.style(line, fg={"+": "green", "-": "red"}.get(line[:1]))


def upload(ctx: RunContext, host: Host, want: DesiredRelease, programs: Sequence[Stored]) -> Upload | None:
    """What has to be sent to a target; None: it is all there.

    Args:
        ctx: the run.
        host: the target.
        want: the release.
        programs: the artifacts of `Wanted.programs`.
    """
    binary, *further, agent = programs
    return upload_for(
        state_of(ctx, host),
        want.service,
        want.files,
        manifest=_manifest(want, binary, further, agent),
        metadata=attached_files(binary.path.parent) | _beside_further(further),
        binary=_program(binary),
        extra_binaries={one.manifest.spec.binary: _program(one) for one in further},
        agent=_program(agent),
        run_id=ctx.run.id,
        minimum_free_mb=ctx.fleet(host).target.minimum_free_mb,
    )


def _program(stored: Stored) -> LocalProgram:
    return LocalProgram(path=stored.path, sha256=stored.manifest.sha256, size=stored.manifest.size)


def _beside_further(further: Sequence[Stored]) -> dict[str, bytes]:
    """Manifest, provenance and SBOM of each further binary, under names that begin with the binary's."""
    found: dict[str, bytes] = {}
    for one in further:
        name = one.manifest.spec.binary
        files = attached_files(one.path.parent)
        with contextlib.suppress(OSError):  # as there: `verify` calls it missing
            # the bytes that were signed: a later gofallback would write the same manifest with further keys
            files[MANIFEST] = (one.path.parent / MANIFEST).read_bytes()
        found |= {f"{name}.{file}": content for file, content in files.items()}
    return found


def _manifest(want: DesiredRelease, binary: Stored, further: Sequence[Stored], agent: Stored) -> bytes:
    """manifest.json of a release: the main binary's manifest, and what lies beside it.

    `contents` is there only where there is something: a release of one binary has the manifest it always had.
    """
    content = binary.manifest.model_dump(mode="json")
    content["release"] = want.files.id
    content["agent_sha256"] = agent.manifest.sha256
    others = contents(want.files, {one.manifest.spec.binary: one.manifest.sha256 for one in further})
    if others:
        content["contents"] = others
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
