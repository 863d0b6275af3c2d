"""What has to change on a target, in words, before anything does. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gofallback.model import Service
from gofallback.release import lease
from gofallback.release.agentfiles import AGENT
from gofallback.release.receive import Program, Upload
from gofallback.release.render import ReleaseFiles, Rendered
from gofallback.release.state import FileFound, ServiceState, TargetState

Kind = Literal["user", "upload", "repair", "switch", "restart", "refuse"]
#: `systemd-run --collect` and `TemporaryFileSystem=`, `ProtectProc=` and its kin need it (systemd's NEWS).
OLDEST_SYSTEMD = 240
#: Modes of a release, by path inside it; the log folder is apart.
FOLDERS = ("", "bin", "lib", "conf")


@dataclass(frozen=True)
class Step:
    """One change on one target."""

    kind: Kind
    text: str
    """For a person, without the host's name."""
    diff: str = ""
    """Unified diff of text files; for --diff."""


@dataclass(frozen=True)
class LocalProgram:
    """A program the controller has."""

    path: Path
    sha256: str
    size: int
    """Bytes."""


def diff(state: ServiceState, desired: ReleaseFiles, service: Service, sha256: str | None = None) -> list[Step]:
    """Every change that makes ``desired`` live and healthy; an empty list: nothing to do.

    Args:
        state: what the target told.
        desired: the rendered release.
        service: its group data.
        sha256: of the binary; None while there is no artifact yet.
    """
    steps = []
    if not state.user_exists:
        steps.append(Step("user", f"create the system user {service.user}"))
    live = state.current == desired.id
    damage = _damage(state, desired, service, sha256) if live else _other_binary(state, desired, sha256)
    if desired.id not in state.releases:
        note = f"; {binary_note(state, sha256)}" if sha256 is not None else "; with the binary that this run builds"
        steps.append(Step("upload", f"upload release {desired.id}{note}", _files_diff(state, desired)))
    elif damage:
        steps.append(
            Step("repair", f"upload release {desired.id} again: {'; '.join(damage)}", _files_diff(state, desired))
        )
    if not live:
        before = state.current or "no release"
        failed = state.bad.get(desired.id)
        note = f" (it failed here before: {failed})" if failed else ""
        steps.append(
            Step(
                "switch",
                f"switch {before} -> {desired.id}{note}, restart {desired.service}",
                _units_diff(state, desired),
            )
        )
    else:
        reasons = (
            drift(state, desired.units) + _not_running(state, desired) + (["its programs changed"] if damage else [])
        )
        if reasons:
            text = f"activate release {desired.id} again: {'; '.join(reasons)}"
            steps.append(Step("restart", text, _units_diff(state, desired)))
    return steps


def requirements(target: TargetState) -> list[str]:
    """What a target lacks that every service needs; each one line with what to do."""
    problems = []
    if target.missing:
        problems.append(f"has no {', '.join(target.missing)}; install what brings them (a Debian has them)")
    if target.systemd < OLDEST_SYSTEMD:
        problems.append(f"has systemd {target.systemd or 'none'}; at least {OLDEST_SYSTEMD} is needed")
    return problems


def preconditions(
    target: TargetState,
    service: Service,
    needed: int,
    minimum_free_mb: int,
    run_id: str = "",
    takeover: str | None = None,
) -> list[str]:
    """Why a target cannot take a release; each one line with what to do.

    Args:
        target: what the target told.
        service: the service.
        needed: bytes the upload needs; 0 when that is not known or nothing is uploaded.
        minimum_free_mb: `target.minimum_free_mb`.
        run_id: of this run, whose own lease is no obstacle.
        takeover: id of the run whose lease may be taken from it.
    """
    problems = requirements(target)
    free = target.free.get(service.home)
    wanted = needed + minimum_free_mb * 1024 * 1024
    if free is not None and free < wanted:
        problems.append(
            f"disk full: {free >> 20} MB free below {service.home}, {-(-wanted >> 20)} MB are needed; free space there"
        )
    state = target.services.get(service.name)
    if state and state.lease and lease.in_the_way(state.lease, run_id, takeover):
        problems.append(lease.refusal(service.name, state.lease, takeover))
    return problems


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
    """
    state = target.services[service.name]
    there = files.id in state.releases
    if there and state.current == files.id and not _damage(state, files, service, binary.sha256):
        return None
    if there and state.current != files.id and state.releases[files.id].sha256 == binary.sha256:
        return None
    same = tuple(
        f"{service.home}/releases/{found.id}/bin/{service.binary}"
        for found in state.releases.values()
        if found.sha256 == binary.sha256 and not (there and found.id == files.id)
    )
    shared = (f"/opt/gofallback/agent/{agent.sha256}",) if agent.sha256 in target.agents else ()
    return Upload(
        files=files,
        user=service.user,
        run_id=run_id,
        manifest=manifest,
        programs=(
            Program(f"bin/{service.binary}", binary.sha256, binary.size, binary.path, same),
            Program(AGENT, agent.sha256, agent.size, agent.path, shared),
        ),
        minimum_free_mb=minimum_free_mb,
        replace=there,
        beside=beside or {},
    )


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
    hashes = [digest for path, digest in state.hashes.items() if path.startswith("bin/")]
    if release and release.sha256 and hashes[:1] != [release.sha256]:
        now = hashes[0][:12] if hashes else "of nothing"
        found.append(f"the binary has sha256 {now}, its manifest says {release.sha256[:12]}")
    return found


def binary_note(state: ServiceState, sha256: str) -> str:
    """Whether a binary has to be sent."""
    known = any(found.sha256 == sha256 for found in state.releases.values())
    return "the binary is there already" if known else f"with binary {sha256[:12]}"


def _other_binary(state: ServiceState, desired: ReleaseFiles, sha256: str | None) -> list[str]:
    """What speaks against a release that is there but not live: its manifest names another binary than the artifact."""
    there = state.releases.get(desired.id)
    if there is None or sha256 is None or there.sha256 == sha256:
        return []
    return [f"its binary has sha256 {(there.sha256 or 'none')[:12]}, not {sha256[:12]}"]


def _damage(state: ServiceState, desired: ReleaseFiles, service: Service, sha256: str | None) -> list[str]:
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
    for path, file in desired.files.items():
        there = state.files.get(path)
        if there is None or there.content != file.content:
            found.append(f"{path} was changed" if there else f"{path} is missing")
        elif there.mode != file.mode:
            found.append(f"{path} has mode {there.mode:o}, not {file.mode:o}")
    base = f"{state.home}/current"
    for path in [*(f"{base}/{folder}".rstrip("/") for folder in FOLDERS), f"{base}/{binary}", f"{base}/{AGENT}"]:
        mode = state.modes.get(path)
        if mode is not None and mode != "755 root:root":
            found.append(f"{path.removeprefix(base + '/')} is {mode}, not 755 root:root")
    log = f"/var/log/{state.name}"
    if not state.modes.get(log, "").startswith(f"750 {service.user}:"):
        found.append(f"{log} is {state.modes.get(log, 'missing')}, not 750 {service.user}")
    return found


def _not_running(state: ServiceState, desired: ReleaseFiles) -> list[str]:
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


def unified(before: Mapping[str, bytes], after: Mapping[str, bytes], folder: str = "") -> str:
    """Unified diff of text files by name; empty when they are equal."""
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = (texts.get(name, b"").decode(errors="replace").splitlines() for texts in (before, after))
        label = f"{folder}{name}"
        start = label if name in before else "/dev/null"
        end = label if name in after else "/dev/null"
        lines += difflib.unified_diff(old, new, start, end, lineterm="")
    return "\n".join(lines)


def _contents(files: Mapping[str, FileFound] | Mapping[str, Rendered], names: Iterable[str]) -> dict[str, bytes]:
    return {name: files[name].content for name in names}


def _files_diff(state: ServiceState, desired: ReleaseFiles) -> str:
    before = [path for path in state.files if path.startswith("conf/")]
    return unified(_contents(state.files, before), _contents(desired.files, desired.files), f"{state.home}/current/")


def _units_diff(state: ServiceState, desired: ReleaseFiles) -> str:
    units = desired.units
    return unified(_contents(state.installed, state.installed), _contents(units, units), "/etc/systemd/system/")
