"""What has to change on a target, in words, before anything does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from gofallback.model import Service
from gofallback.release import lease
from gofallback.release.agentfiles import AGENT
from gofallback.release.contents import by_content, contents, damaged, files_diff, texts, unified
from gofallback.release.receive import Program, Upload
from gofallback.release.render import ReleaseFiles, Rendered
from gofallback.release.state import ServiceState, TargetState

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


#: Nothing more is known, or there is nothing more.
_NONE: Mapping[str, str] = MappingProxyType({})


def diff(
    state: ServiceState,
    desired: ReleaseFiles,
    service: Service,
    sha256: str | None = None,
    further: Mapping[str, str] = _NONE,
) -> list[Step]:
    """Every change that makes ``desired`` live and healthy; an empty list: nothing to do.

    Args:
        state: what the target told.
        desired: the rendered release.
        service: its group data.
        sha256: of the binary; None while there is no artifact yet.
        further: SHA-256 of the further binaries by name, as far as there are artifacts.
    """
    steps = []
    wanted = contents(desired, further)
    if not state.user_exists:
        steps.append(Step("user", f"create the system user {service.user}"))
    live = state.current == desired.id
    damage = _damage(state, desired, service, sha256, wanted) if live else _other_binary(state, desired, sha256, wanted)
    if desired.id not in state.releases:
        note = (
            f"; {binary_note(state, sha256, wanted)}"
            if sha256
            else f"; with the {_binaries(service)} that this run builds"
        )
        steps.append(Step("upload", f"upload release {desired.id}{note}", files_diff(state, desired)))
    elif damage:
        steps.append(
            Step("repair", f"upload release {desired.id} again: {'; '.join(damage)}", files_diff(state, desired))
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
    if there and state.current == files.id and not _damage(state, files, service, binary.sha256, wanted):
        return None
    if there and state.current != files.id and not _other_binary(state, files, binary.sha256, wanted):
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


def _binaries(service: Service) -> str:
    return "binaries" if service.build.binaries else "binary"


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


def binary_note(state: ServiceState, sha256: str, wanted: Mapping[str, str] = _NONE) -> str:
    """Whether a binary has to be sent, and how many of the other files."""
    releases = state.releases.values()
    known = any(found.sha256 == sha256 for found in releases)
    note = "the binary is there already" if known else f"with binary {sha256[:12]}"
    there = {sum_ for found in releases for sum_ in found.contents.values()}
    lacking = [path for path, sum_ in wanted.items() if sum_ not in there]
    more = f"{len(lacking)} of {len(wanted)} further files" if lacking else "so are its further files"
    if not wanted or (not lacking and not known):
        return note
    return f"{note}{',' if not lacking else ' and'} {more}"


def _other_binary(
    state: ServiceState, desired: ReleaseFiles, sha256: str | None, wanted: Mapping[str, str] = _NONE
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


def _damage(
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
    for path in [f"{base}/{one}".rstrip("/") for one in (*FOLDERS, *programs)]:
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


def _units_diff(state: ServiceState, desired: ReleaseFiles) -> str:
    units = desired.units
    return unified(texts(state.installed, state.installed), texts(units, units), "/etc/systemd/system/")
