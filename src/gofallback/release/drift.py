"""How a target differs from its live release, or from the one it should have. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from gofallback.model import Service
from gofallback.release.agent_config import AGENT
from gofallback.release.contents import damaged
from gofallback.release.render import ReleaseFiles, Rendered
from gofallback.release.state import ServiceState

#: Folders of a release, by path inside it; the log folder is apart.
_FOLDERS = ("", "bin", "lib", "conf")


def drift(state: ServiceState, units: Mapping[str, Rendered]) -> list[str]:
    """How unit files on the host differ from ``units`` (the live release's, or rendered from data now)."""
    found = []
    for name, unit in units.items():
        installed = state.installed.get(name)
        if installed is None:
            found.append(f"{name} is not installed")
        elif installed.content != unit.content:
            found.append(f"{name} was changed on the host")
    found += [f"{name} is installed but not part of the release" for name in state.installed if name not in units]
    return found


def live_units(state: ServiceState) -> dict[str, Rendered]:
    """The units of the live release as its own folder has them, for `drift`."""
    wanted = {
        f"{state.name}.service",
        f"{state.name}.socket",
        f"{state.name}-health.service",
        f"{state.name}-health.timer",
    }
    names = {path.removeprefix("conf/"): file for path, file in state.files.items() if path.startswith("conf/")}
    return {name: Rendered(file.content) for name, file in names.items() if name in wanted}


def changed_by_hand(state: ServiceState) -> list[str]:
    """How the host differs from its live release: unit files and binary that somebody changed there; a line each."""
    if state.current is None:
        return []
    found = drift(state, live_units(state))
    release = state.releases.get(state.current)
    main = f"bin/{release.binary}" if release and release.binary else ""
    hashes = [sum_ for path, sum_ in state.hashes.items() if path.startswith("bin/") and main in ("", path)]
    if release and release.sha256 and hashes[:1] != [release.sha256]:
        now = hashes[0][:12] if hashes else "of nothing"
        found.append(f"the binary has sha256 {now}, its manifest says {release.sha256[:12]}")
    for path, sha256 in (release.contents if release else {}).items():
        have = state.hashes.get(path)
        if have != sha256 and path != main:
            now = f"has sha256 {have[:12]}" if have else "is missing"
            found.append(f"{path} {now}, its manifest says {sha256[:12]}")
    return found


def other_binary(
    state: ServiceState, desired: ReleaseFiles, sha256: str | None, wanted: Mapping[str, str]
) -> list[str]:
    """What speaks against a release that is there but not live: its manifest names another binary than the artifact."""
    there = state.releases.get(desired.id)
    if there is None or sha256 is None:
        return []
    found = []
    if there.sha256 != sha256:
        found.append(f"its binary has sha256 {(there.sha256 or 'none')[:12]}, not {sha256[:12]}")
    for path, sum_ in wanted.items():
        if there.contents.get(path) != sum_:
            found.append(f"its {path} has sha256 {there.contents.get(path, 'none')[:12]}, not {sum_[:12]}")
    return found


def damage(
    state: ServiceState, desired: ReleaseFiles, service: Service, sha256: str | None, wanted: Mapping[str, str]
) -> list[str]:
    """What is wrong with the folder of the live release."""
    found = []
    manifest = state.releases[desired.id].sha256 if desired.id in state.releases else None
    binary = f"bin/{service.binary}"
    have = state.hashes.get(binary)
    if have is None:
        found.append(f"{binary} is missing")
    elif have != (sha256 or manifest):
        found.append(f"{binary} has sha256 {have[:12]}, not {(sha256 or manifest or 'none')[:12]}")
    if AGENT not in state.hashes:
        found.append(f"{AGENT} is missing")
    found += damaged(state, desired, service, wanted)
    for path, file in desired.files.items():
        there = state.files.get(path)
        if there is None or there.content != file.content:
            found.append(f"{path} was changed" if there else f"{path} is missing")
        elif there.mode != file.mode:
            found.append(f"{path} has mode {there.mode:o}, not {file.mode:o}")
    base = f"{state.home}/current"
    programs = [binary, AGENT, *(f"bin/{name}" for name in service.build.binaries)]
    for path in [f"{base}/{one}".rstrip("/") for one in (*_FOLDERS, *programs)]:
        mode = state.modes.get(path)
        if mode is not None and mode != "755 root:root":
            found.append(f"{path.removeprefix(base + '/')} is {mode}, not 755 root:root")
    log = f"/var/log/{state.name}"
    if not state.modes.get(log, "").startswith(f"750 {service.user}:"):
        found.append(f"{log} is {state.modes.get(log, 'missing')}, not 750 {service.user}")
    return found


def not_running(state: ServiceState, desired: ReleaseFiles) -> list[str]:
    """What keeps the live release from being up, well, enabled and there to stay."""
    found = []
    if state.unsettled is not None:  # live today, gone when its window lapses: "unchanged" would be a lie
        found.append(f"run {state.unsettled} never confirmed it, and the target would go back by itself")
    if state.unit.active != "active":
        found.append(f"{desired.service}.service is {state.unit.active}")
    elif state.health is not None and not state.health.healthy:
        found.append(f"unhealthy: {state.health.reason}")
    for name in desired.units:
        unit = state.units.get(name)
        if name.endswith((".timer", ".socket")) and (unit is None or unit.active != "active"):
            found.append(f"{name} is {unit.active if unit else 'not there'}")
        if not name.endswith("-health.service") and (unit is None or unit.enabled != "enabled"):
            found.append(f"{name} is not enabled")
    return found
