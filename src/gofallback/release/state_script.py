"""The script that reads the state of a target: POSIX sh, run as root. `state_parser` parses its output. Pure.

It takes one round trip for any number of services, and needs only what every Debian has: sh, coreutils, util-linux,
tar, gzip, systemd. Small files (units, rendered files, records) come as one tar, base64 in one line.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from gofallback.model import Service
from gofallback.release.render import unit_names

UNIT_FOLDER = "/etc/systemd/system"
RECORDS = "/var/lib/gofallback"
_PROPERTIES = "Id,ActiveState,SubState,NRestarts,UnitFileState,ActiveEnterTimestampMonotonic"

_HEAD = r"""
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
t=$(printf '\t')
emit() { printf '%s' "$1"; shift; printf '\t%s' "$@"; echo; }
prefix() { while IFS= read -r line; do printf '%s\t%s\n' "$1" "$line"; done; }
emit kernel "$(uname -r)"; emit machine "$(uname -m)"
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || libc=
if [ -z "$libc" ]; then for f in /lib/ld-musl-*.so.1; do
  [ -e "$f" ] && libc="musl $("$f" 2>&1 | sed -n 's/^Version //p')"; done; fi
if [ -z "$libc" ]; then for f in /lib64/ld-linux*.so.* /lib/ld-linux*.so.*; do [ -e "$f" ] && libc=glibc; done; fi
emit libc "$libc"
emit systemd "$(systemctl --version | { read -r a b c; echo "$b"; })"
read -r up rest </proc/uptime; emit clock "$(date +%s)" "$up"
for p in tar gzip base64 sha256sum find flock systemd-run systemd-analyze systemctl useradd stat df; do
  command -v $p >/dev/null || emit missing $p; done
agents=$(ls /opt/gofallback/agent 2>/dev/null); for a in $agents; do emit agent "$a"; done
"""

# Hashing is most of the cost of an unchanged target. Hashes are cached below /run as long as inode, size, mtime and
# ctime do not change (a ctime cannot be set). An upload and an activation always hash the bytes themselves.
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

# `inside` lists every file of a live release, `small` those whose content is sent. -size counts blocks of 512 bytes,
# rounded up. lib/ may hold thousands of files: only small ones are sent, for a diff. $1 home.
_FILES = r"""
inside() { find "$1/current/bin/" "$1/current/lib/" "$1/current/conf/" -type f 2>/dev/null | sort; }
small() { find "$1/current/conf/" -type f -size -2048 2>/dev/null
  find "$1/current/lib/" -type f ! -name gofallback-agent -size -17 2>/dev/null | sort | head -n 64; }
"""

_SERVICE = r"""
read_service() { # $1 name, $2 home, $3 user
  if id -u "$3" >/dev/null 2>&1; then emit user "$1" yes; else emit user "$1" no; fi
  place=$2; while [ ! -d "$place" ]; do place=${place%/*}; [ -n "$place" ] || place=/; done
  emit free "$2" "$(df -Pk "$place" | { read -r a; read -r a b c free rest; echo "$free"; })"
  [ -L "$2/current" ] && emit current "$1" "$(readlink "$2/current")"
  for r in "$2"/releases/*; do [ -d "$r" ] && emit release "$1" "${r##*/}"; done
  if [ -e "/var/lib/gofallback/$1/lease" ]; then
    read -r up rest </proc/uptime
    emit lease "$1" "$up" "$(cat "/var/lib/gofallback/$1/lease")"
    emit renewed "$1" "$(cat "/run/gofallback/$1.renewed" 2>/dev/null)"; fi
  tail -n 20 "/var/lib/gofallback/$1/history.jsonl" 2>/dev/null | prefix "history$t$1"
  if [ -x "$2/current/lib/gofallback-agent" ] && [ -e "$2/current/conf/health.json" ]; then
    reason=$("$2/current/lib/gofallback-agent" check -config "$2/current/conf/health.json" 2>&1 </dev/null); code=$?
    emit health "$1" $code "$(echo "$reason" | tail -n 1)"; fi
}
"""


def script(services: Iterable[Service]) -> str:
    """The script for these services; every value in it is quoted."""
    chosen = list(services)
    quote = shlex.quote
    units, tar, homes, modes, calls = [], [], [], [], []
    for service in chosen:
        name, home = quote(service.name), quote(service.home)
        calls.append(f"read_service {name} {home} {quote(service.user)}")
        units += [*unit_names(service.name), activation_unit(service.name)]
        tar += [f"{UNIT_FOLDER}/{unit}" for unit in unit_names(service.name)]
        tar += [f"{home}/current/manifest.json", f"{home}/releases/*/manifest.json"]
        tar += [f"{home}/releases/*/BAD", f"{RECORDS}/{name}/outcome.json", f"{RECORDS}/{name}/last-known-good"]
        homes.append(home)
        folders = ["/.", "/bin/.", "/lib/.", "/conf/.", "/manifest.json"]
        modes += [*(f"{home}/current{folder}" for folder in folders), f"/var/log/{name}"]
    lines = [_HEAD.strip(), 'emit free /tmp "$(df -Pk /tmp | { read -r a; read -r a b c free rest; echo "$free"; })"']
    if chosen:
        files, texts = ("; ".join(f"{function} {home}" for home in homes) for function in ("inside", "small"))
        lines += [
            _SUMS.strip(),
            _FILES.strip(),
            _SERVICE.strip(),
            *calls,
            f"systemctl show -p {_PROPERTIES},Description {' '.join(map(quote, units))} 2>/dev/null | prefix unit",
            # file names may contain spaces and brackets: split at line ends only, and expand no pattern
            f"(IFS='\n'; set -f; sums $({files}))",
            f"(IFS='\n'; set -f; stat --printf 'mode\\t%a %U:%G\\t%n\\n' -- $({files}) 2>/dev/null)",
            f"stat --printf 'mode\\t%a %U:%G\\t%n\\n' -- {' '.join(modes)} 2>/dev/null",
            "printf 'files\\t'",
            f"{{ printf '%s\\n' {' '.join(tar)}; {texts}; }} |"
            " tar -C / -czf - --hard-dereference --ignore-failed-read -T - 2>/dev/null | base64 -w 0",
            "echo",
        ]
    return "\n".join([*lines, "echo end"])


#: Prefix of the description of an activation's unit; the release follows.
ACTIVATING = "gofallback activates "


def activation_unit(service: str) -> str:
    """Name of the transient unit that activates a service; systemd refuses a second unit of the same name."""
    return f"gofallback-activate-{service}.service"
