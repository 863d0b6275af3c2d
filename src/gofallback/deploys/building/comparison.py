"""Compares the builder's builds with those of its twin. Equal bytes are attested, other bytes are explained."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.host import Host

from gofallback.artifact.binary import BinaryInfo, inspect
from gofallback.artifact.compare import compare_files
from gofallback.artifact.manifest import Manifest
from gofallback.connectors.local import TransferError
from gofallback.controller.store import Stored
from gofallback.deploys.building import plan
from gofallback.deploys.building.attest import sign_twin_attestation
from gofallback.deploys.run.comparisons import label, record_folder, record_row, save_comparison
from gofallback.deploys.run.context import RunContext
from gofallback.errors import GofallbackError
from gofallback.gobuild.result import Built
from gofallback.operations.remote import fetch_file
from gofallback.provenance import CHECKSUMS, TWIN, checksums


class UnconfirmedError(GofallbackError):
    """The second builder does not confirm an artifact, so nothing is shipped."""


def twin_attestation(ctx: RunContext, manifest: Manifest, local: Path, info: BinaryInfo | None = None) -> bytes | None:
    """The signed attestation that the second builder made the same bytes; None: none is required.

    Args:
        ctx: the run; the second builder has ended its builds.
        manifest: of the artifact.
        local: its binary, on the controller.
        info: of the binary; default: read from ``local``.

    Raises:
        UnconfirmedError: the second builder did not build it, or built other bytes.
        GofallbackError: a binary cannot be fetched, read or compared.
    """
    spec = manifest.spec
    builders = plan.second_builders(ctx)
    if spec.key not in builders:
        return None
    name = builders[spec.key]
    second = next((built for built in ctx.run.built_by(name or "") if built.spec == spec), None)
    host = next((builder for builder in ctx.builders if builder.name == name), None)
    if second is None or host is None:
        raise UnconfirmedError(f"{name or 'the twin'} did not build it (see above), so it is not confirmed")
    if second.sha256 != manifest.sha256:
        raise UnconfirmedError(_explanation(ctx, host, second, manifest, local))
    record_row(ctx.run, spec, (manifest.builder, host.name), (manifest.sha256, second.sha256))
    host.log(f"{label(spec)}: the same bytes as {manifest.builder} built, sha256 {second.sha256[:16]}")
    return sign_twin_attestation(ctx, host, second.manifest, info or inspect(local))


def _explanation(ctx: RunContext, host: Host, second: Built, manifest: Manifest, local: Path) -> str:
    """Why two builders made other bytes."""
    spec, folder = manifest.spec, record_folder(ctx.run)
    stem = f"{spec.binary}-{spec.goos}-{spec.goarch}"
    fetched = folder / f"{stem}.{host.name}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        fetch_file(host, second.path, fetched)
    except TransferError as error:
        return f"{manifest.builder} and {host.name} built other bytes; why is not known: {error}"
    found = compare_files(local, fetched, (manifest.builder, host.name))
    save_comparison(ctx.run, spec, found, stem)
    for line in found.lines():
        host.log_styled(f"{label(spec)}: {line}", fg="red")
    return f"{manifest.builder} and {host.name} built other bytes, nothing is shipped: " + (
        found.brief() or f"the bytes are the same, though {host.name} reported another hash; run again"
    )


def attach_attestation(ctx: RunContext, stored: Stored, attestation: bytes) -> None:
    """Put the second builder's attestation beside an artifact of the store.

    Raises:
        StoreError: the disk refuses.
    """
    folder = stored.path.parent
    every = [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]
    files = {file.name: file.read_bytes() for file in every if file != stored.path} | {TWIN: attestation}
    ctx.run.store.attach(stored, {TWIN: attestation, CHECKSUMS: checksums.of(files, stored.manifest)})


def reconcile_stored(ctx: RunContext, host: Host, stored: Stored, own: Manifest, attestation: bytes | None) -> None:
    """Keep the attestation even if another run has stored the artifact first.

    Args:
        ctx: the run.
        host: the builder.
        stored: the artifact in the store now.
        own: the manifest that this run would have stored.
        attestation: the second builder's, where one is required.

    Raises:
        UnconfirmedError: the other run stored other bytes.
        GofallbackError: nothing can be signed, or the disk refuses.
    """
    first = stored.manifest
    if attestation is None or first == own:
        return
    if first.sha256 != own.sha256:
        raise UnconfirmedError(
            f"another run stored it meanwhile, built by {first.builder} with sha256 {first.sha256[:16]}; "
            f"{own.builder} and its twin built {own.sha256[:16]}: gofallback compare says why, nothing is shipped"
        )
    if first.builder != own.builder:  # this run's own builder is then the second one, not its twin
        attestation = sign_twin_attestation(ctx, host, own, inspect(stored.path))
    attach_attestation(ctx, stored, attestation)


def confirm_stored_artifacts(ctx: RunContext) -> list[str]:
    """Compare stored artifacts with the builds of a second builder in this run; the problems, a line each."""
    problems, missing = [], {spec.key for spec in plan.missing_artifacts(ctx)}
    for key in plan.second_builders(ctx):
        stored = ctx.run.artifacts.get(key)
        if stored is None or key in missing:
            continue
        try:
            attestation = twin_attestation(ctx, stored.manifest, stored.path)
            if attestation is not None:
                attach_attestation(ctx, stored, attestation)
        except (GofallbackError, OSError) as error:
            problems.append(f"{label(stored.manifest.spec)}: {error}")
    return problems
