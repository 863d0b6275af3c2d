"""Builds that are compared: the builder's with its twin's. Equal ones are signed for, others are explained."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.host import Host
from pyinfra.context import ctx_host

from gofallback.artifact.binary import inspect
from gofallback.artifact.compare import Comparison, compare_files
from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.controller.store import Stored
from gofallback.deploys.building import plan
from gofallback.deploys.building.attest import sign_twin_attestation
from gofallback.deploys.run.context import RunContext
from gofallback.errors import GofallbackError
from gofallback.gobuild.result import Built
from gofallback.operations.remote import CONNECTION_ERRORS
from gofallback.provenance import CHECKSUMS, TWIN, checksums
from gofallback.report.rows import ComparisonRow


def label(spec: BuildSpec) -> str:
    """Of a comparison: ``hello linux/amd64``."""
    return f"{spec.what} {spec.platform}"


def twin_attestation(ctx: RunContext, manifest: Manifest, local: Path) -> tuple[bytes | None, str | None]:
    """What the second builder says of an artifact that one has built: its signed word, or why there is none.

    Args:
        ctx: the run; the second builder has built by now.
        manifest: of the artifact.
        local: its binary, on the controller.

    Returns:
        ``twin.json`` and no problem; or nothing and a problem of one line; or neither, where no second word is wanted.

    Raises:
        GofallbackError: a binary cannot be fetched, read or compared.
    """
    spec = manifest.spec
    if spec not in plan.needs_second_build(ctx):
        return None, None
    name = plan.second_builder(ctx, spec)
    theirs = next((one for one in plan.built_by(ctx, name or "") if one.spec == spec), None)
    host = next((one for one in ctx.builders if one.name == name), None)
    if theirs is None or host is None:
        return None, f"{label(spec)}: {name or 'the twin'} did not build it (see above), so nobody confirms it"
    if theirs.sha256 == manifest.sha256:
        record_row(ctx, spec, (manifest.builder, host.name), (manifest.sha256, theirs.sha256))
        host.log(f"{label(spec)}: the same bytes as {manifest.builder} built, sha256 {theirs.sha256[:16]}")
        return sign_twin_attestation(ctx, host, theirs.manifest, inspect(local)), None
    return None, _explained(ctx, host, theirs, manifest, local)


def _explained(ctx: RunContext, host: Host, theirs: Built, manifest: Manifest, local: Path) -> str:
    folder = record_folder(ctx)
    stem = f"{manifest.spec.binary}-{manifest.spec.goos}-{manifest.spec.goarch}"
    fetched = folder / f"{stem}.{host.name}"
    folder.mkdir(parents=True, exist_ok=True)
    problem = fetch_file(host, theirs.path, fetched)
    if problem:
        return (
            f"{label(manifest.spec)}: {manifest.builder} and {host.name} built other bytes; why is not known: {problem}"
        )
    found = compare_files(local, fetched, (manifest.builder, host.name))
    save_comparison(ctx, manifest.spec, found, stem)
    for line in found.lines():
        host.log_styled(f"{label(manifest.spec)}: {line}", fg="red")
    return f"{label(manifest.spec)}: {manifest.builder} and {host.name} built other bytes, nothing is shipped: " + (
        found.brief() or f"the bytes are the same, and {host.name} said that they are not; run again"
    )


def save_comparison(ctx: RunContext, spec: BuildSpec, found: Comparison, stem: str) -> None:
    """The whole comparison in the run's folder, its words in the report."""
    path = record_folder(ctx) / f"{stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(found.model_dump_json(indent=2) + "\n")
    record_row(ctx, spec, found.names, found.sha256, found.lines(), f"compare/{path.name}")


def record_row(
    ctx: RunContext,
    spec: BuildSpec,
    names: tuple[str, str],
    sha256: tuple[str, str],
    why: list[str] | None = None,
    file: str = "",
) -> None:
    """One row of the report, and a line of the journal."""
    same = sha256[0] == sha256[1]
    ctx.run.comparisons.append(
        ComparisonRow(
            service=spec.what,
            platform=spec.platform,
            version=spec.version,
            names=names,
            sha256=sha256,
            same=same,
            why=why or [],
            file=file,
        )
    )
    ctx.run.tell(
        "compared",
        service=spec.service,
        platform=spec.platform,
        builders=list(names),
        same=same,
        reason="; ".join(why or []),
    )


def fetch_file(host: Host, path: str, local: Path) -> str | None:
    """Copy a file from a builder; why not, in one line, or None."""
    try:
        with ctx_host.use(host):
            done = host.get_file(path, str(local), print_output=False, print_input=False)
    except CONNECTION_ERRORS as error:
        return f"{path} cannot be fetched from {host.name}: {error}"
    return None if done else f"{path} cannot be fetched from {host.name} (see above)"


def with_attestation(files: dict[str, bytes], word: bytes | None, manifest: Manifest, text: bytes) -> dict[str, bytes]:
    """What lies beside a new artifact, with the second builder's word and the sums anew."""
    if word is None:
        return files
    every = {**files, TWIN: word}
    return {**every, CHECKSUMS: checksums.of(every | {"manifest.json": text}, manifest)}


def attach_attestation(ctx: RunContext, stored: Stored, word: bytes) -> None:
    """Put the second builder's word beside an artifact of the store.

    Raises:
        StoreError: the disk refuses.
    """
    folder = stored.path.parent
    every = [one for one in folder.iterdir() if one.is_file() and not one.name.startswith(".") and one != stored.path]
    files = {one.name: one.read_bytes() for one in every} | {TWIN: word}
    ctx.run.store.attach(stored, {TWIN: word, CHECKSUMS: checksums.of(files, stored.manifest)})


def reconcile_stored(ctx: RunContext, host: Host, stored: Stored, mine: Manifest, word: bytes | None) -> str | None:
    """Where another run put the artifact into the store first, what this one found out is not lost.

    Args:
        ctx: the run.
        host: the builder.
        stored: what the store has now.
        mine: of what this run would have stored.
        word: the second builder's, if it was asked.

    Returns:
        The problem in one line, or None.

    Raises:
        GofallbackError: nothing can be signed, or the disk refuses.
    """
    if word is None or stored.manifest == mine:
        return None
    first, name = stored.manifest, label(mine.spec)
    if first.sha256 != mine.sha256:
        return (
            f"{name}: another run stored it meanwhile, built by {first.builder} with sha256 {first.sha256[:16]}; "
            f"{mine.builder} and its twin built {mine.sha256[:16]}: gofallback compare says why, nothing is shipped"
        )
    if first.builder != mine.builder:  # so the word about it is this run's own builder's, not that of its twin
        word = sign_twin_attestation(ctx, host, mine, inspect(stored.path))
    attach_attestation(ctx, stored, word)
    return None


def confirm_stored_artifacts(ctx: RunContext) -> list[str]:
    """Compare what is in the store with what a second builder made of it in this run; the problems, a line each."""
    problems, lacking = [], {spec.key for spec in plan.missing_artifacts(ctx)}
    for spec in plan.needs_second_build(ctx):
        stored = ctx.run.artifacts.get(spec.key)
        if stored is None or spec.key in lacking:
            continue
        try:
            word, problem = twin_attestation(ctx, stored.manifest, stored.path)
            if word is not None:
                attach_attestation(ctx, stored, word)
        except (GofallbackError, OSError) as error:
            problem = f"{label(spec)}: {error}"
        problems += [problem] if problem else []
    return problems


def record_folder(ctx: RunContext) -> Path:
    """Where this run's full comparisons lie."""
    return ctx.run.home.run(ctx.run.id) / "compare"
