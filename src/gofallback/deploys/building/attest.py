"""Signed attestations of a build: provenance, SBOM and checksums of an artifact on its way into the store."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.exceptions import FactError
from pyinfra.api.host import Host

from gofallback.artifact.binary import BinaryInfo
from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.controller.store import manifest_text
from gofallback.deploys.run.context import RunContext
from gofallback.facts.builder import builder_state
from gofallback.provenance import ProvenanceError, twin
from gofallback.provenance.attest import attestations
from gofallback.provenance.keys import controller_key
from gofallback.provenance.names import Checkout
from gofallback.provenance.statement import Materials, Tool


def sign_attestations(
    ctx: RunContext, host: Host, manifest: Manifest, info: BinaryInfo, second: bytes | None = None
) -> dict[str, bytes]:
    """The attestation files of an artifact, name to content, signed with the controller's key.

    Args:
        ctx: the run.
        host: the builder.
        manifest: of the artifact; the binary was checked against it.
        info: of the binary.
        second: the attestation of a second builder, where there is one.

    Raises:
        ProvenanceError: the key cannot be read or made.
    """
    signer = controller_key(ctx.run.home.keys)
    return attestations(manifest, manifest_text(manifest), info, _materials(ctx, host, manifest.spec), signer, second)


def sign_twin_attestation(ctx: RunContext, host: Host, manifest: Manifest, info: BinaryInfo) -> bytes:
    """The attestation that a second builder made the same bytes, signed with the controller's key.

    Args:
        ctx: the run.
        host: the second builder.
        manifest: its manifest.
        info: of the binary.

    Raises:
        ProvenanceError: the key cannot be read or made, or Go did not build it.
    """
    if info.build is None:
        raise ProvenanceError(f"{manifest.spec.file_name}: has no Go build info, so its contents are not known")
    signer = controller_key(ctx.run.home.keys)
    return twin.make(manifest, info.build, _materials(ctx, host, manifest.spec), signer)


def _materials(ctx: RunContext, host: Host, spec: BuildSpec) -> Materials:
    source = ctx.run.sources.get(spec.service)
    tools = tuple(_tools(ctx, host, spec))
    if source is None:  # our own agent
        return Materials(run_id=ctx.run.id, tools=tools)
    return Materials(
        run_id=ctx.run.id,
        ref=source.ref,
        source=Checkout(source.repository, source.commit),
        submodules=tuple(Checkout(one.repository, one.commit, one.path) for one in source.below()),
        tools=tools,
    )


def _tools(ctx: RunContext, host: Host, spec: BuildSpec) -> Iterator[Tool]:
    """Go, Git and the C compiler: with the pin of its archive, or as installed on the builder before."""
    fleet = ctx.fleet(host)
    if fleet.toolchain is None:
        return
    try:
        state = builder_state(host, fleet.builder.root)
    except FactError:
        return  # the builder went away after the binary was fetched: nothing is claimed
    versions = [("go", spec.go_version), ("git", fleet.toolchain.git_of(state.os))]
    if spec.cgo is not None and spec.cgo.compiler == "zig":
        versions.append(("zig", spec.cgo.version))
    for name, version in versions:
        found = state.find(name, version, use_installed=fleet.builder.use_installed)
        pin = fleet.toolchain.pin(name, version, state.arch, state.os)
        if found is not None and found.origin == "ours" and pin is not None:
            yield Tool(name, version, url=pin.url, sha256=found.sha256 or pin.sha256)
        elif found is not None:
            yield Tool(name, found.version)
    if spec.cgo is not None and spec.cgo.compiler == "gcc":
        yield Tool(spec.cgo.cc, spec.cgo.version or "not pinned (build.cgo.version)")
    if spec.cgo is not None and spec.cgo.sysroot:
        # The digest is that of the list of its files, each with its own (gofallback.controller.sysroot).
        yield Tool("sysroot", spec.cgo.sysroot[:12], sha256=spec.cgo.sysroot)
