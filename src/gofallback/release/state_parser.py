"""Parses the output of `release.state_script` into a `TargetState`. Pure."""

from __future__ import annotations

import base64
import binascii
import io
import tarfile
import zlib
from collections.abc import Iterable
from typing import Any

from gofallback import untrusted_values
from gofallback.errors import GofallbackError
from gofallback.lease.holder import Holder, parse_holder
from gofallback.model import Service
from gofallback.release.agent_record import parse_record
from gofallback.release.extra_file import manifest_contents
from gofallback.release.render import unit_names
from gofallback.release.state import HealthResult, ReleaseState, ServiceState, TargetFile, TargetState, UnitState
from gofallback.release.state_script import ACTIVATING, RECORDS, UNIT_FOLDER, activation_unit

#: Largest file that is read, in bytes; gofallback writes no larger one.
_FILE_LIMIT = 1 << 20
#: Largest sum of all files, in bytes: the manifests of some hundred releases are a few megabytes.
_TOTAL_LIMIT = 1 << 26


class StateError(GofallbackError):
    """The target's answer cannot be parsed; one line."""


def parse(lines: Iterable[str], services: Iterable[Service]) -> TargetState:
    """Parse the script's output.

    Args:
        lines: standard output.
        services: the services of the script.

    Raises:
        StateError: the output is cut short or is not the script's.
    """
    try:
        return _parse(lines, services)
    except (ValueError, IndexError, OverflowError) as error:
        raise StateError(f"the target's answer is not the script's ({error}); look at its shell and programs") from None


def _parse(lines: Iterable[str], services: Iterable[Service]) -> TargetState:
    rows: dict[str, list[list[str]]] = {}
    ended = False
    for line in lines:
        key, *values = line.split("\t")
        rows.setdefault(key, []).append(values)
        ended = ended or line == "end"
    if not ended:
        last = next(iter(list(rows)[-1:]), "nothing")
        raise StateError(f"the target's answer is cut short (last: {last}); run again")
    first = {key: values[0] for key, values in rows.items() if values}
    try:
        now, uptime = (float(part) for part in first["clock"])
    except (KeyError, ValueError):
        raise StateError("the target's answer has no clock; is /proc mounted there?") from None
    libc, _, libc_version = first.get("libc", [""])[0].partition(" ")
    units = _units(rows.get("unit", []), uptime)
    files = _files(first.get("files", [""])[0])
    return TargetState(
        kernel=first.get("kernel", [""])[0],
        machine=first.get("machine", [""])[0],
        libc="musl" if libc == "musl" else "glibc" if libc == "glibc" else "none",
        libc_version=libc_version.strip(),
        systemd=int("".join(ch for ch in first.get("systemd", ["0"])[0].split(".")[0] if ch.isdigit()) or 0),
        free={path: int(kib) * 1024 for path, kib in rows.get("free", []) if kib.isdigit()},
        now=now,
        missing=tuple(values[0] for values in rows.get("missing", [])),
        agents=frozenset(values[0] for values in rows.get("agent", [])),
        services={service.name: _service(service, rows, units, files) for service in services},
    )


def _units(rows: list[list[str]], uptime: float) -> dict[str, dict[str, str]]:
    """Properties of each unit, by its name."""
    units: dict[str, dict[str, str]] = {}
    block: dict[str, str] = {}
    for row in [*rows, [""]]:
        name, separator, value = "\t".join(row).partition("=")
        if separator:
            block[name] = value
        elif block:
            block["uptime"] = str(uptime)
            units[block.get("Id", "")] = block
            block = {}
    return units


def _unit(block: dict[str, str]) -> UnitState:
    def number(name: str) -> int:
        return untrusted_values.number(block.get(name, ""))

    active = block.get("ActiveState", "inactive")
    entered = number("ActiveEnterTimestampMonotonic") / 1e6
    return UnitState(
        active=active,
        sub=block.get("SubState", "dead"),
        enabled=block.get("UnitFileState", ""),
        restarts=number("NRestarts"),
        since=max(0.0, float(block["uptime"]) - entered) if active == "active" and entered else None,
    )


def _files(encoded: str) -> dict[str, TargetFile]:
    """Files by absolute path."""
    if not encoded:
        return {}
    files, size = {}, 0
    try:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(encoded, validate=True)), mode="r:gz") as archive:
            for member in archive:
                reader = archive.extractfile(member) if member.isfile() and member.size <= _FILE_LIMIT else None
                if reader is not None:
                    size += member.size
                    if size > _TOTAL_LIMIT:
                        raise tarfile.ReadError(f"larger than {_TOTAL_LIMIT >> 20} MiB")
                    path = "/" + member.name.lstrip("/")
                    files[path] = TargetFile(reader.read(), member.mode & 0o7777)
    except (tarfile.TarError, binascii.Error, zlib.error, EOFError, OSError) as error:
        raise StateError(f"the target's answer holds no readable archive ({error}); run again") from None
    return files


def _json(file: TargetFile | None) -> dict[str, Any] | None:
    return untrusted_values.json_object(file.content) if file else None


def _record(file: TargetFile | None) -> dict[str, Any] | None:
    return parse_record(file.content) if file else None


def _release(home: str, name: str, files: dict[str, TargetFile]) -> ReleaseState:
    folder = f"{home}/releases/{name}"
    manifest, mark = files.get(f"{folder}/manifest.json"), files.get(f"{folder}/BAD")
    content = _json(manifest) or {}
    bad = None
    if mark is not None:
        bad = str((_json(mark) or {}).get("reason") or "marked as bad")
    spec = content.get("spec")
    return ReleaseState(
        id=name,
        manifest=manifest.content if manifest else None,
        sha256=str(content["sha256"]) if "sha256" in content else None,
        version=str(spec.get("version", "")) if isinstance(spec, dict) else "",
        bad=bad,
        binary=str(spec.get("binary", "")) if isinstance(spec, dict) else "",
        contents=manifest_contents(content),
    )


def _lease(lease: list[str], renewed: list[str]) -> Holder | None:
    """The holder, from the uptime with the lease's fields, and the fields of the last renewal."""
    try:
        uptime = float(lease[0])
    except (IndexError, ValueError):
        return None
    return parse_holder(lease[1:], renewed, uptime)


def _service(
    service: Service, rows: dict[str, list[list[str]]], units: dict[str, dict[str, str]], files: dict[str, TargetFile]
) -> ServiceState:
    name, home = service.name, service.home

    def rows_of(key: str) -> list[list[str]]:
        return [values[1:] for values in rows.get(key, []) if values[:1] == [name]]

    current = next((values[0] for values in rows_of("current")), None)
    folders = [values[0] for values in rows_of("release")]
    inside = f"{home}/current/"
    good = files.get(f"{RECORDS}/{name}/last-known-good")
    activation = units.get(activation_unit(name), {})
    busy = activation.get("ActiveState") in ("active", "activating", "reloading", "deactivating")
    checked = next(iter(rows_of("health")), None)
    sums = {path: digest for digest, _, path in (row[0].partition("  ") for row in rows.get("sum", []))}
    modes = {row[1].removesuffix("/."): row[0] for row in rows.get("mode", []) if len(row) == 2}
    own = (f"{home}/", f"/var/log/{name}")
    return ServiceState(
        name=name,
        home=home,
        user_exists=["yes"] in rows_of("user"),
        current=current.rstrip("/").rsplit("/", 1)[-1] if current else None,
        releases={folder: _release(home, folder, files) for folder in folders if not folder.startswith(".")},
        files={path.removeprefix(inside): file for path, file in files.items() if path.startswith(inside)},
        installed={
            unit: files[f"{UNIT_FOLDER}/{unit}"] for unit in unit_names(name) if f"{UNIT_FOLDER}/{unit}" in files
        },
        hashes={path.removeprefix(inside): digest for path, digest in sums.items() if path.startswith(inside)},
        modes={path: mode for path, mode in modes.items() if path.startswith(own)},
        units={unit: _unit(units[unit]) for unit in unit_names(name) if unit in units},
        history=tuple(record for row in rows_of("history") if (record := parse_record("\t".join(row))) is not None),
        outcome=_record(files.get(f"{RECORDS}/{name}/outcome.json")),
        last_good=good.content.decode(errors="replace").strip() or None if good else None,
        lease=_lease(next(iter(rows_of("lease")), []), next(iter(rows_of("renewed")), [])),
        activating=(activation.get("Description", "").removeprefix(ACTIVATING) or "unknown") if busy else None,
        health=HealthResult(checked[0] == "0", "\t".join(checked[1:])) if checked else None,
    )
