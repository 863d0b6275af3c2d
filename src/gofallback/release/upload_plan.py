"""What has to be sent to a target so that a release is there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gofallback.model import Service
from gofallback.release.agent_config import AGENT
from gofallback.release.contents import by_content, contents
from gofallback.release.drift import damage, other_binary
from gofallback.release.render import ReleaseFiles
from gofallback.release.state import TargetState
from gofallback.release.upload import Program, Upload


@dataclass(frozen=True)
class LocalProgram:
    """A program the controller has."""

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
    beside: Mapping[str, bytes] | None = None,
    further: Mapping[str, LocalProgram] = MappingProxyType({}),
) -> Upload | None:
    """What has to be sent so that a release is there, or None when it is there and undamaged.

    Args:
        target: what the target told.
        service: group data.
        files: the rendered release.
        manifest: content of manifest.json.
        binary: the service's program.
        agent: the agent's program.
        run_id: the run that uploads.
        minimum_free_mb: `target.minimum_free_mb`.
        beside: further files of the release's folder, which its name says nothing of: provenance.json and sbom.json.
        further: the service's further programs, by name.
    """
    state = target.services[service.name]
    there = files.id in state.releases
    wanted = contents(files, {name: program.sha256 for name, program in further.items()})
    if there and state.current == files.id and not damage(state, files, service, binary.sha256, wanted):
        return None
    if there and state.current != files.id and not other_binary(state, files, binary.sha256, wanted):
        return None
    have = by_content(state, service, files.id)
    shared = (f"/opt/gofallback/agent/{agent.sha256}",) if agent.sha256 in target.agents else ()
    return Upload(
        files=files,
        user=service.user,
        run_id=run_id,
        manifest=manifest,
        programs=(
            _program(f"bin/{service.binary}", binary, have),
            *(_program(f"bin/{name}", program, have) for name, program in further.items()),
            Program(AGENT, agent.sha256, agent.size, agent.path, shared),
        ),
        extras=tuple(
            Program(path, one.sha256, one.size, one.local, have.get(one.sha256, ()), one.mode)
            for path, one in sorted(files.extras.items())
        ),
        minimum_free_mb=minimum_free_mb,
        replace=there,
        beside=beside or {},
    )


def _program(path: str, local: LocalProgram, have: Mapping[str, tuple[str, ...]]) -> Program:
    return Program(path, local.sha256, local.size, local.path, have.get(local.sha256, ()))
