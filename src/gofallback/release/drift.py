"""How a target differs from its live release, or from the desired release. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gofallback.model import Service
from gofallback.release.agent_config import AGENT
from gofallback.release.contents import content_problems
from gofallback.release.render import ReleaseFiles, Rendered, unit_names
from gofallback.release.state import ServiceState

#: Folders of a release, by path inside it. The log folder is outside.
_FOLDERS = ("", "bin", "lib", "conf")


def unit_drift(state: ServiceState, units: Mapping[str, Rendered]) -> list[str]:
    """How the installed unit files differ from ``units``: the live release's, or those rendered from today's data."""
    differences = []
    for name, unit in units.items():
        installed = state.installed.get(name)
        if installed is None:
            differences.append(f"{name} is not installed")
        elif installed.content != unit.content:
            differences.append(f"{name} was changed on the host")
    extra = (name for name in state.installed if name not in units)
    return differences + [f"{name} is installed but not part of the release" for name in extra]


def live_units(state: ServiceState) -> dict[str, Rendered]:
    """The units in the folder of the live release, for `unit_drift`."""
    names = {path.removeprefix("conf/"): file for path, file in state.files.items() if path.startswith("conf/")}
    return {name: Rendered(file.content) for name, file in names.items() if name in unit_names(state.name)}


def manual_changes(state: ServiceState) -> list[str]:
    """How the host differs from its live release: changed unit files and binaries, one line each."""
    if state.current is None:
        return []
    differences = unit_drift(state, live_units(state))
    release = state.releases.get(state.current)
    main = f"bin/{release.binary}" if release and release.binary else ""
    hashes = [sha256 for path, sha256 in state.hashes.items() if path.startswith("bin/") and main in ("", path)]
    if release and release.sha256 and hashes[:1] != [release.sha256]:
        now = hashes[0][:12] if hashes else "of nothing"
        differences.append(f"the binary has sha256 {now}, its manifest says {release.sha256[:12]}")
    for path, sha256 in (release.contents if release else {}).items():
        have = state.hashes.get(path)
        if have != sha256 and path != main:
            now = f"has sha256 {have[:12]}" if have else "is missing"
            differences.append(f"{path} {now}, its manifest says {sha256[:12]}")
    return differences


def artifact_mismatches(
    state: ServiceState, desired: ReleaseFiles, sha256: str | None, expected: Mapping[str, str]
) -> list[str]:
    """How the manifest of a release that is present but not live differs from the artifacts of this run."""
    release = state.releases.get(desired.id)
    if release is None or sha256 is None:
        return []
    problems = []
    if release.sha256 != sha256:
        problems.append(f"its binary has sha256 {(release.sha256 or 'none')[:12]}, not {sha256[:12]}")
    for path, should in expected.items():
        if release.contents.get(path) != should:
            problems.append(f"its {path} has sha256 {release.contents.get(path, 'none')[:12]}, not {should[:12]}")
    return problems


def damage(
    state: ServiceState, desired: ReleaseFiles, service: Service, sha256: str | None, expected: Mapping[str, str]
) -> list[str]:
    """What is missing, changed or has wrong modes in the folders of the live release."""
    problems = []
    recorded = state.releases[desired.id].sha256 if desired.id in state.releases else None
    binary = f"bin/{service.binary}"
    have = state.hashes.get(binary)
    if have is None:
        problems.append(f"{binary} is missing")
    elif have != (sha256 or recorded):
        problems.append(f"{binary} has sha256 {have[:12]}, not {(sha256 or recorded or 'none')[:12]}")
    if AGENT not in state.hashes:
        problems.append(f"{AGENT} is missing")
    problems += content_problems(state, desired, service, expected)
    for path, file in desired.files.items():
        present = state.files.get(path)
        if present is None or present.content != file.content:
            problems.append(f"{path} was changed" if present else f"{path} is missing")
        elif present.mode != file.mode:
            problems.append(f"{path} has mode {present.mode:o}, not {file.mode:o}")
    programs = [binary, AGENT, *(f"bin/{name}" for name in service.build.binaries)]
    return problems + list(_mode_problems(state, service, programs))


def _mode_problems(state: ServiceState, service: Service, programs: Iterable[str]) -> Iterator[str]:
    base = f"{state.home}/current"
    for path in [f"{base}/{inside}".rstrip("/") for inside in (*_FOLDERS, *programs)]:
        mode = state.modes.get(path)
        if mode is not None and mode != "755 root:root":
            yield f"{path.removeprefix(base + '/')} is {mode}, not 755 root:root"
    log = f"/var/log/{state.name}"
    if not state.modes.get(log, "").startswith(f"750 {service.user}:"):
        yield f"{log} is {state.modes.get(log, 'missing')}, not 750 {service.user}"


def liveness_problems(state: ServiceState, desired: ReleaseFiles) -> list[str]:
    """Why the live release is not up, healthy, enabled, or not confirmed."""
    problems = []
    if state.unconfirmed_run is not None:  # live now, but reverted at the end of its window: not "unchanged"
        problems.append(f"run {state.unconfirmed_run} never confirmed it, and the target would go back by itself")
    if state.unit.active != "active":
        problems.append(f"{desired.service}.service is {state.unit.active}")
    elif state.health is not None and not state.health.healthy:
        problems.append(f"unhealthy: {state.health.reason}")
    for name in desired.units:
        unit = state.units.get(name)
        if name.endswith((".timer", ".socket")) and (unit is None or unit.active != "active"):
            problems.append(f"{name} is {unit.active if unit else 'not there'}")
        if not name.endswith("-health.service") and (unit is None or unit.enabled != "enabled"):
            problems.append(f"{name} is not enabled")
    return problems
