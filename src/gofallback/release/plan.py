"""What has to change on a target, in words, before anything does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from gofallback.model import Service
from gofallback.release.contents import contents, files_diff, texts, unified
from gofallback.release.drift import damage, drift, not_running, other_binary
from gofallback.release.render import ReleaseFiles
from gofallback.release.state import ServiceState

Kind = Literal["user", "upload", "repair", "switch", "restart", "refuse"]


@dataclass(frozen=True)
class Step:
    """One change on one target."""

    kind: Kind
    text: str
    """For a person, without the host's name."""
    diff: str = ""
    """Unified diff of text files; for --diff."""


def diff(
    state: ServiceState,
    desired: ReleaseFiles,
    service: Service,
    sha256: str | None = None,
    further: Mapping[str, str] = MappingProxyType({}),
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
    wrong = damage(state, desired, service, sha256, wanted) if live else other_binary(state, desired, sha256, wanted)
    if desired.id not in state.releases:
        built = f"with the {_binaries(service)} that this run builds or finds in the store"
        note = binary_note(state, sha256, wanted) if sha256 else built
        steps.append(Step("upload", f"upload release {desired.id}; {note}", files_diff(state, desired)))
    elif wrong:
        text = f"upload release {desired.id} again: {'; '.join(wrong)}"
        steps.append(Step("repair", text, files_diff(state, desired)))
    if not live:
        failed = state.bad.get(desired.id)
        note = f" (it failed here before: {failed})" if failed else ""
        text = f"switch {state.current or 'no release'} -> {desired.id}{note}, restart {desired.service}"
        steps.append(Step("switch", text, _units_diff(state, desired)))
    elif reasons := [
        *drift(state, desired.units),
        *not_running(state, desired),
        *(["its programs changed"] if wrong else []),
    ]:
        text = f"activate release {desired.id} again: {'; '.join(reasons)}"
        steps.append(Step("restart", text, _units_diff(state, desired)))
    return steps


def _binaries(service: Service) -> str:
    return "binaries" if service.build.binaries else "binary"


def binary_note(state: ServiceState, sha256: str, wanted: Mapping[str, str] = MappingProxyType({})) -> str:
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


def _units_diff(state: ServiceState, desired: ReleaseFiles) -> str:
    units = desired.units
    return unified(texts(state.installed, state.installed), texts(units, units), "/etc/systemd/system/")
