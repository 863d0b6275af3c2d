"""Plans the upload of a release: what the target lacks, and what it has already. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gofallback.model import Service
from gofallback.release.agent_config import AGENT
from gofallback.release.contents import contents, paths_by_content
from gofallback.release.drift import artifact_mismatches, damage
from gofallback.release.render import ReleaseFiles
from gofallback.release.state import TargetState
from gofallback.release.upload import Program, Upload


@dataclass(frozen=True)
class LocalProgram:
    """A program on the controller."""

    path: Path
    sha256: str
    size: int
    """Bytes."""


def upload_for(
    target: TargetState,
    service: Service,
    files: ReleaseFiles,
    *,
    manifest: bytes,
    binary: LocalProgram,
    agent: LocalProgram,
    run_id: str,
    minimum_free_mb: int,
    metadata: Mapping[str, bytes] | None = None,
    extra_binaries: Mapping[str, LocalProgram] = MappingProxyType({}),
) -> Upload | None:
    """The upload of a release, or None if the target has the release undamaged.

    Args:
        target: its state.
        service: group data.
        files: the rendered release.
        manifest: content of manifest.json.
        binary: the service's main binary.
        agent: the agent's program.
        run_id: the run that uploads.
        minimum_free_mb: `target.minimum_free_mb`.
        metadata: files beside manifest.json that are not part of the release's digest, such as provenance.json.
        extra_binaries: the service's extra binaries, by name.
    """
    state = target.services[service.name]
    present = files.id in state.releases
    expected = contents(files, {name: program.sha256 for name, program in extra_binaries.items()})
    if present and state.current == files.id and not damage(state, files, service, binary.sha256, expected):
        return None
    if present and state.current != files.id and not artifact_mismatches(state, files, binary.sha256, expected):
        return None
    copies = paths_by_content(state, service, skip=files.id)
    shared = (f"/opt/gofallback/agent/{agent.sha256}",) if agent.sha256 in target.agents else ()
    return Upload(
        files=files,
        user=service.user,
        run_id=run_id,
        manifest=manifest,
        programs=(
            _program(f"bin/{service.binary}", binary, copies),
            *(_program(f"bin/{name}", program, copies) for name, program in extra_binaries.items()),
            Program(AGENT, agent.sha256, agent.size, agent.path, shared),
        ),
        extra_files=tuple(
            Program(path, extra.sha256, extra.size, extra.local, copies.get(extra.sha256, ()), extra.mode)
            for path, extra in sorted(files.extra_files.items())
        ),
        minimum_free_mb=minimum_free_mb,
        replace=present,
        metadata=metadata or {},
    )


def _program(path: str, local: LocalProgram, copies: Mapping[str, tuple[str, ...]]) -> Program:
    return Program(path, local.sha256, local.size, local.path, copies.get(local.sha256, ()))
