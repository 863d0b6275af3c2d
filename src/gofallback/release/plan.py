"""The changes that a target needs, in words, before anything is changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from gofallback.model import Service
from gofallback.release.contents import content_by_name, contents, files_diff, unified_diff
from gofallback.release.drift import artifact_mismatches, damage, liveness_problems, unit_drift
from gofallback.release.render import ReleaseFiles
from gofallback.release.state import ServiceState

Kind = Literal["user", "upload", "repair", "switch", "restart"]


@dataclass(frozen=True)
class Step:
    """One change on one target."""

    kind: Kind
    text: str
    """For a person, without the host's name."""
    diff: str = ""
    """Unified diff of text files; for --diff."""


def plan_steps(
    state: ServiceState,
    desired: ReleaseFiles,
    service: Service,
    sha256: str | None = None,
    extra_binaries: Mapping[str, str] = MappingProxyType({}),
) -> list[Step]:
    """Every change that makes ``desired`` live and healthy; an empty list means nothing to do.

    Args:
        state: the service on the target.
        desired: the rendered release.
        service: its group data.
        sha256: of the binary; None while there is no artifact.
        extra_binaries: SHA-256 of the extra binaries that have an artifact, by name.
    """
    steps = []
    expected = contents(desired, extra_binaries)
    if not state.user_exists:
        steps.append(Step("user", f"create the system user {service.user}"))
    if state.current == desired.id:
        problems = damage(state, desired, service, sha256, expected)
    else:
        problems = artifact_mismatches(state, desired, sha256, expected)
    if desired.id not in state.releases:
        binaries = "binaries" if service.build.binaries else "binary"
        built = f"with the {binaries} that this run builds or finds in the store"
        note = _binary_note(state, sha256, expected) if sha256 else built
        steps.append(Step("upload", f"upload release {desired.id}; {note}", files_diff(state, desired)))
    elif problems:
        text = f"upload release {desired.id} again: {'; '.join(problems)}"
        steps.append(Step("repair", text, files_diff(state, desired)))
    return steps + _activation(state, desired, programs_changed=bool(problems))


def _activation(state: ServiceState, desired: ReleaseFiles, *, programs_changed: bool) -> list[Step]:
    """The switch to the desired release, or its restart, or nothing."""
    if state.current != desired.id:
        failed = state.bad.get(desired.id)
        note = f" (it failed here before: {failed})" if failed else ""
        text = f"switch {state.current or 'no release'} -> {desired.id}{note}, restart {desired.service}"
        return [Step("switch", text, _units_diff(state, desired))]
    reasons = [*unit_drift(state, desired.units), *liveness_problems(state, desired)]
    if programs_changed:
        reasons.append("its programs changed")
    if not reasons:
        return []
    return [Step("restart", f"activate release {desired.id} again: {'; '.join(reasons)}", _units_diff(state, desired))]


def _binary_note(state: ServiceState, sha256: str, expected: Mapping[str, str]) -> str:
    """Whether the binary has to be sent, and how many of the other files."""
    releases = state.releases.values()
    known = any(release.sha256 == sha256 for release in releases)
    note = "the binary is there already" if known else f"with binary {sha256[:12]}"
    present = {content for release in releases for content in release.contents.values()}
    lacking = [path for path, content in expected.items() if content not in present]
    more = f"{len(lacking)} of {len(expected)} extra files" if lacking else "so are its extra files"
    if not expected or (not lacking and not known):
        return note
    return f"{note}{',' if not lacking else ' and'} {more}"


def _units_diff(state: ServiceState, desired: ReleaseFiles) -> str:
    before, after = content_by_name(state.installed, state.installed), content_by_name(desired.units, desired.units)
    return unified_diff(before, after, "/etc/systemd/system/")
