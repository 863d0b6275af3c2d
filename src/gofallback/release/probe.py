"""Everything a target tells: one POSIX sh script, run as root, and the reader of its answer. Pure.

One round trip, whatever the number of services. The target needs only what every Debian has: sh, coreutils, util-linux,
tar, gzip, systemd. Small files (units, rendered files, records) come as one tar, base64 in one line.
"""

from __future__ import annotations

import base64
import binascii
import io
import shlex
import tarfile
import zlib
from collections.abc import Iterable
from typing import Any

from gofallback.errors import GofallbackError
from gofallback.model import Service
from gofallback.release import told
from gofallback.release.extra import contents_of
from gofallback.release.lease import seen
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

UNIT_FOLDER = "/etc/systemd/system"
RECORDS = "/var/lib/gofallback"
_PROPERTIES = "Id,LoadState,ActiveState,SubState,MainPID,NRestarts,UnitFileState,ActiveEnterTimestampMonotonic"
#: Small files come whole; a larger one is not one of ours.
_LARGEST = 1 << 20
#: All of them together: some hundred releases' manifests are a few megabytes.
_TOGETHER = 1 << 26


class StateError(GofallbackError):
    """The target's answer cannot be read; one line."""


_HEAD = r"""
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
t=$(printf '\t')
say() { printf '%s' "$1"; shift; printf '\t%s' "$@"; echo; }
prefix() { while IFS= read -r line; do printf '%s\t%s\n' "$1" "$line"; done; }
say kernel "$(uname -r)"; say machine "$(uname -m)"
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || libc=
if [ -z "$libc" ]; then for f in /lib/ld-musl-*.so.1; do
  [ -e "$f" ] && libc="musl $("$f" 2>&1 | sed -n 's/^Version //p')"; done; fi
if [ -z "$libc" ]; then for f in /lib64/ld-linux*.so.* /lib/ld-linux*.so.*; do [ -e "$f" ] && libc=glibc; done; fi
say libc "$libc"
say systemd "$(systemctl --version | { read -r a b c; echo "$b"; })"
read -r boot </proc/sys/kernel/random/boot_id; say boot "$boot"
read -r up rest </proc/uptime; say clock "$(date +%s)" "$up"
for p in tar gzip base64 sha256sum find flock systemd-run systemd-analyze systemctl useradd stat df; do
  command -v $p >/dev/null || say missing $p; done
agents=$(ls /opt/gofallback/agent 2>/dev/null); for a in $agents; do say agent "$a"; done
"""

# Hashing is most of what an unchanged target costs: hashes are kept below /run as long as inode, size, mtime and ctime
# are what they were (nobody can set a ctime). An upload and an activation always hash the bytes themselves.
_SUMS = r"""
sums() {
  cache=/run/gofallback/sums mark='
--
' sig=$(stat -L -c '%n %i %s %y %z' -- "$@" 2>/dev/null)
  [ -n "$sig" ] || return 0
  content=$(cat $cache 2>/dev/null)
  case $content in
    "$sig$mark"*) found=${content#"$sig$mark"};;
    *) found=$(sha256sum -- "$@" 2>/dev/null)
       [ -w /run/gofallback ] && printf '%s' "$sig$mark$found" >$cache.$$ && mv -f $cache.$$ $cache;; esac
  echo "$found" | prefix sum
}
"""

# Every file of a live release, a name a line; and of those what is small enough to be told whole. -size counts blocks
# of 512 bytes, rounded up; of lib/, which may hold thousands, only what a diff may want to show. $1 home.
_FILES = r"""
inside() { find "$1/current/bin/" "$1/current/lib/" "$1/current/conf/" -type f 2>/dev/null | sort; }
small() { find "$1/current/conf/" -type f -size -2048 2>/dev/null
  find "$1/current/lib/" -type f ! -name gofallback-agent -size -17 2>/dev/null | sort | head -n 64; }
"""

# $1 name, $2 home, $3 user
_SERVICE = r"""
one() {
  if id -u "$3" >/dev/null 2>&1; then say user "$1" yes; else say user "$1" no; fi
  place=$2; while [ ! -d "$place" ]; do place=${place%/*}; [ -n "$place" ] || place=/; done
  say free "$2" "$(df -Pk "$place" | { read -r a; read -r a b c free rest; echo "$free"; })"
  [ -L "$2/current" ] && say current "$1" "$(readlink "$2/current")"
  for r in "$2"/releases/* "$2"/releases/.tmp-*; do [ -d "$r" ] && say release "$1" "${r##*/}"; done
  if [ -e "/var/lib/gofallback/$1/lease" ]; then
    read -r up rest </proc/uptime
    say lease "$1" "$up" "$(cat "/var/lib/gofallback/$1/lease")"
    say renewed "$1" "$(cat "/run/gofallback/$1.renewed" 2>/dev/null)"; fi
  tail -n 20 "/var/lib/gofallback/$1/history.jsonl" 2>/dev/null | prefix "history$t$1"
  if [ -x "$2/current/lib/gofallback-agent" ] && [ -e "$2/current/conf/health.json" ]; then
    reason=$("$2/current/lib/gofallback-agent" check -config "$2/current/conf/health.json" 2>&1 </dev/null); code=$?
    say health "$1" $code "$(echo "$reason" | tail -n 1)"; fi
}
"""


def script(services: Iterable[Service]) -> str:
    """The script; every value in it is quoted."""
    chosen = list(services)
    quote = shlex.quote
    units, tar, homes, modes, calls = [], [], [], [], []
    for service in chosen:
        name, home = quote(service.name), quote(service.home)
        calls.append(f"one {name} {home} {quote(service.user)}")
        units += [*unit_names(service.name), activation_unit(service.name)]
        tar += [f"{UNIT_FOLDER}/{unit}" for unit in unit_names(service.name)]
        tar += [f"{home}/current/manifest.json", f"{home}/releases/*/manifest.json"]
        tar += [f"{home}/releases/*/BAD", f"{RECORDS}/{name}/outcome.json", f"{RECORDS}/{name}/last-known-good"]
        homes.append(home)
        folders = ["/.", "/bin/.", "/lib/.", "/conf/.", "/manifest.json"]
        modes += [*(f"{home}/current{folder}" for folder in folders), f"/var/log/{name}"]
    lines = [_HEAD.strip(), 'say free /tmp "$(df -Pk /tmp | { read -r a; read -r a b c free rest; echo "$free"; })"']
    if chosen:
        files, texts = ("; ".join(f"{what} {home}" for home in homes) for what in ("inside", "small"))
        lines += [
            _SUMS.strip(),
            _FILES.strip(),
            _SERVICE.strip(),
            *calls,
            f"systemctl show -p {_PROPERTIES},Description {' '.join(map(quote, units))} 2>/dev/null | prefix unit",
            # names may have blanks in them, and brackets: cut at line ends only, and nothing is a pattern
            f"(IFS='\n'; set -f; sums $({files}))",
            f"(IFS='\n'; set -f; stat --printf 'mode\\t%a %U:%G\\t%n\\n' -- $({files}) 2>/dev/null)",
            f"stat --printf 'mode\\t%a %U:%G\\t%n\\n' -- {' '.join(modes)} 2>/dev/null",
            "printf 'files\\t'",
            f"{{ printf '%s\\n' {' '.join(tar)}; {texts}; }} |"
            " tar -C / -czf - --hard-dereference --ignore-failed-read -T - 2>/dev/null | base64 -w 0",
            "echo",
        ]
    return "\n".join([*lines, "echo end"])


#: How the description of an activation's unit begins; the release follows.
ACTIVATING = "gofallback activates "


def activation_unit(service: str) -> str:
    """Name of the transient unit that activates a service: systemd refuses a second one of the same name."""
    return f"gofallback-activate-{service}.service"


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
        return told.number(block.get(name, ""))

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
    return told.json_object(file.content) if file else None


def _record(file: FileFound | None) -> dict[str, Any] | None:
    return told.record(file.content) if file else None


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
        history=tuple(found for row in mine("history") if (found := told.record("\t".join(row))) is not None),
        outcome=_record(files.get(f"{RECORDS}/{name}/outcome.json")),
        last_good=good.content.decode(errors="replace").strip() or None if good else None,
        lease=_lease(next(iter(mine("lease")), []), next(iter(mine("renewed")), [])),
        activating=(activation.get("Description", "").removeprefix(ACTIVATING) or "unknown") if busy else None,
        leftovers=tuple(one for one in folders if one.startswith(".tmp-")),
        health=HealthFound(checked[0] == "0", "\t".join(checked[1:])) if checked else None,
    )
