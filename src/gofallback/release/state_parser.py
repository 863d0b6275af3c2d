"""The reader of what a target tells: the answer of the script in `release.probe`. Pure."""

from __future__ import annotations

import base64
import binascii
import io
import tarfile
import zlib
from collections.abc import Iterable
from typing import Any

from gofallback.errors import GofallbackError
from gofallback.lease.holder import seen
from gofallback.model import Service
from gofallback.release import untrusted_values
from gofallback.release.extra_file import contents_of
from gofallback.release.render import unit_names
from gofallback.release.state import (
    FileFound,
    HealthFound,
    Holder,
    ReleaseFound,
    ServiceState,
    TargetState,
    UnitFound,
)
from gofallback.release.state_script import ACTIVATING, RECORDS, UNIT_FOLDER, activation_unit

#: Small files come whole; a larger one is not one of ours.
_LARGEST = 1 << 20


#: All of them together: some hundred releases' manifests are a few megabytes.
_TOGETHER = 1 << 26


class StateError(GofallbackError):
    """The target's answer cannot be read; one line."""


def parse(lines: Iterable[str], services: Iterable[Service]) -> TargetState:
    """Read the script's answer.

    Args:
        lines: standard output.
        services: those the script was made for.

    Raises:
        StateError: the answer is cut short or is not the script's.
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
    one = {key: values[0] for key, values in rows.items() if values}
    try:
        now, uptime = (float(part) for part in one["clock"])
    except (KeyError, ValueError):
        raise StateError("the target's answer has no clock; is /proc mounted there?") from None
    libc, _, libc_version = one.get("libc", [""])[0].partition(" ")
    units = _units(rows.get("unit", []), uptime)
    files = _files(one.get("files", [""])[0])
    return TargetState(
        kernel=one.get("kernel", [""])[0],
        machine=one.get("machine", [""])[0],
        libc="musl" if libc == "musl" else "glibc" if libc == "glibc" else "none",
        libc_version=libc_version.strip(),
        systemd=int("".join(ch for ch in one.get("systemd", ["0"])[0].split(".")[0] if ch.isdigit()) or 0),
        free={path: int(kib) * 1024 for path, kib in rows.get("free", []) if kib.isdigit()},
        boot_id=one.get("boot", [""])[0],
        now=now,
        missing=tuple(values[0] for values in rows.get("missing", [])),
        agents=frozenset(values[0] for values in rows.get("agent", [])),
        services={service.name: _service(service, rows, units, files) for service in services},
    )


def _units(rows: list[list[str]], uptime: float) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    block: dict[str, str] = {}
    for row in [*rows, [""]]:
        name, separator, value = "\t".join(row).partition("=")
        if separator:
            block[name] = value
        elif block:
            block["uptime"] = str(uptime)
            found[block.get("Id", "")] = block
            block = {}
    return found


def _unit(block: dict[str, str]) -> UnitFound:
    def number(name: str) -> int:
        return untrusted_values.number(block.get(name, ""))

    active = block.get("ActiveState", "inactive")
    entered = number("ActiveEnterTimestampMonotonic") / 1e6
    return UnitFound(
        load=block.get("LoadState", "not-found"),
        active=active,
        sub=block.get("SubState", "dead"),
        enabled=block.get("UnitFileState", ""),
        pid=number("MainPID"),
        restarts=number("NRestarts"),
        since=max(0.0, float(block["uptime"]) - entered) if active == "active" and entered else None,
    )


def _files(encoded: str) -> dict[str, FileFound]:
    """Absolute path to file."""
    if not encoded:
        return {}
    found, size = {}, 0
    try:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(encoded, validate=True)), mode="r:gz") as archive:
            for member in archive:
                reader = archive.extractfile(member) if member.isfile() and member.size <= _LARGEST else None
                if reader is not None:
                    size += member.size
                    if size > _TOGETHER:
                        raise tarfile.ReadError("larger than anything of ours")
                    path = "/" + member.name.lstrip("/")
                    found[path] = FileFound(reader.read(), member.mode & 0o7777, member.uname or str(member.uid))
    except (tarfile.TarError, binascii.Error, zlib.error, EOFError, OSError) as error:
        raise StateError(f"the target's answer holds no readable archive ({error}); run again") from None
    return found


def _json(file: FileFound | None) -> dict[str, Any] | None:
    return untrusted_values.json_object(file.content) if file else None


def _record(file: FileFound | None) -> dict[str, Any] | None:
    return untrusted_values.record(file.content) if file else None


def _release(home: str, name: str, files: dict[str, FileFound]) -> ReleaseFound:
    folder = f"{home}/releases/{name}"
    manifest, mark = files.get(f"{folder}/manifest.json"), files.get(f"{folder}/BAD")
    content = _json(manifest) or {}
    bad = None
    if mark is not None:
        bad = str((_json(mark) or {}).get("reason") or "marked as bad")
    spec = content.get("spec")
    return ReleaseFound(
        id=name,
        manifest=manifest.content if manifest else None,
        sha256=str(content["sha256"]) if "sha256" in content else None,
        version=str(spec.get("version", "")) if isinstance(spec, dict) else "",
        bad=bad,
        binary=str(spec.get("binary", "")) if isinstance(spec, dict) else "",
        contents=contents_of(content),
    )


def _lease(lease: list[str], renewed: list[str]) -> Holder | None:
    """Uptime and the lease's fields; the fields of its last renewal."""
    try:
        uptime = float(lease[0])
    except (IndexError, ValueError):
        return None
    return seen(lease[1:], renewed, uptime)


def _service(
    service: Service, rows: dict[str, list[list[str]]], units: dict[str, dict[str, str]], files: dict[str, FileFound]
) -> ServiceState:
    name, home = service.name, service.home

    def mine(key: str) -> list[list[str]]:
        return [values[1:] for values in rows.get(key, []) if values[:1] == [name]]

    current = next((values[0] for values in mine("current")), None)
    folders = [values[0] for values in mine("release")]
    inside = f"{home}/current/"
    good = files.get(f"{RECORDS}/{name}/last-known-good")
    activation = units.get(activation_unit(name), {})
    busy = activation.get("ActiveState") in ("active", "activating", "reloading", "deactivating")
    checked = next(iter(mine("health")), None)
    sums = {path: digest for digest, _, path in (row[0].partition("  ") for row in rows.get("sum", []))}
    modes = {row[1].removesuffix("/."): row[0] for row in rows.get("mode", []) if len(row) == 2}
    own = (f"{home}/", f"/var/log/{name}")
    return ServiceState(
        name=name,
        home=home,
        user_exists=["yes"] in mine("user"),
        current=current.rstrip("/").rsplit("/", 1)[-1] if current else None,
        releases={one: _release(home, one, files) for one in folders if not one.startswith(".")},
        files={path.removeprefix(inside): file for path, file in files.items() if path.startswith(inside)},
        installed={
            unit: files[f"{UNIT_FOLDER}/{unit}"] for unit in unit_names(name) if f"{UNIT_FOLDER}/{unit}" in files
        },
        hashes={path.removeprefix(inside): digest for path, digest in sums.items() if path.startswith(inside)},
        modes={path: mode for path, mode in modes.items() if path.startswith(own)},
        units={unit: _unit(units[unit]) for unit in unit_names(name) if unit in units},
        history=tuple(
            found for row in mine("history") if (found := untrusted_values.record("\t".join(row))) is not None
        ),
        outcome=_record(files.get(f"{RECORDS}/{name}/outcome.json")),
        last_good=good.content.decode(errors="replace").strip() or None if good else None,
        lease=_lease(next(iter(mine("lease")), []), next(iter(mine("renewed")), [])),
        activating=(activation.get("Description", "").removeprefix(ACTIVATING) or "unknown") if busy else None,
        leftovers=tuple(one for one in folders if one.startswith(".tmp-")),
        health=HealthFound(checked[0] == "0", "\t".join(checked[1:])) if checked else None,
    )
