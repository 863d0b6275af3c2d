"""The shell of a lease on a target: taken, renewed, released, and checked before a write. Pure.

A lease is two small files, replaced by rename under a short flock(1): `/var/lib/gofallback/<service>/lease` (number,
run id, who, since, ttl; after a release the number alone) and `/run/gofallback/<service>.renewed` (number, uptime of
the last renewal). The number never decreases and is on the disk before it is reported. Ages are differences of
/proc/uptime: a wrong clock does not matter. The scripts need only sh, coreutils and util-linux of any Debian, because
the first rollout finds no agent on the target.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Seconds between two heartbeats of the controller; each renews the leases.
HEARTBEAT = 3.0
#: Seconds without a renewal after which a continuation of the run may take the lease: two heartbeats, and one second
#: for the network.
CONTINUATION_DELAY = 7
#: Exit status of a script when another run has a lease (EX_TEMPFAIL of sysexits.h) ...
BUSY = 75
#: ... and when the number of a write is not the current one any more.
FENCED = 76
#: Seconds to wait for the short flock.
_LOCK_TIMEOUT = 10


@dataclass(frozen=True)
class Paths:
    """Folders and files on a target; tests use others."""

    records: str = "/var/lib/gofallback"
    run: str = "/run/gofallback"
    uptime: str = "/proc/uptime"


@dataclass(frozen=True)
class LeaseRequest:
    """The run that requests leases, and their terms."""

    run_id: str
    who: str
    """user@host of the controller."""
    since: str
    """RFC 3339, by the controller's clock: those of the targets may be wrong by days."""
    ttl: int = 30
    """Seconds after which a lease that is not renewed is free."""
    takeover: str | None = None
    """Id of the run whose lease may be taken although it is alive."""


_HEAD = r"""
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
t=$(printf '\t')
emit() { printf '%s' "$1"; shift; [ $# = 0 ] || printf '\t%s' "$@"; echo; }
"""

# Reads number, holder, who, since and ttl of service $1. A file without a number is damaged, not a free lease. A number
# with a leading 0 would be octal, and past 18 digits the shell's arithmetic overflows: both are rejected.
_READ = r"""
count() { case $1 in ''|*[!0-9]*|0?*|??????????????????*) return 1;; esac; }
read_lease() {
  number=0 holder= who= since= ttl=
  [ -e "$records/$1/lease" ] || return 0
  number=
  IFS=$t read -r number holder who since ttl _ <"$records/$1/lease"
  count "$number" || { emit damaged "$1" "$records/$1/lease"; return 1; }
  [ -n "$holder" ] || return 0
  count "$ttl" && [ ${#ttl} -le 9 ] || { emit damaged "$1" "$records/$1/lease"; return 1; }
}
"""

# Each lock is opened in a subshell of its own, nested in the one before: dash knows only one-digit descriptors. Whoever
# may read a file may lock it: only root.
_LOCK = rf"""
private() {{ [ -e "$1" ] || (umask 077; : >>"$1"); }}
with_locks() {{ # $1: services still to lock; the rest is the command to run once all locks are held
  case $1 in '') shift; "$@"; return;; esac
  private "$run/${{1%% *}}.lock"
  ( flock -w {_LOCK_TIMEOUT} 9 || {{
      emit error "$run/${{1%% *}}.lock is held by a process that does not end"; exit 1; }}
    rest=${{1#* }}; [ "$rest" != "$1" ] || rest=
    shift; with_locks "$rest" "$@" ) 9>>"$run/${{1%% *}}.lock"
}}
"""

# Uptimes are counted in hundredths of a second, as /proc/uptime prints them. The `1` before the last two digits keeps
# 08 from being read as an octal number. An uptime before the last renewal is from another boot.
_INSPECT = r"""
hundredths() { hs=$((${1%.*} * 100 + 1${1#*.} - 100)); }
inspect() { # the lease of service $1; in hundredths of a second: left (until free), age (since its renewal, or '')
  read_lease "$1" || return 1
  read -r up _ <"$uptime"; hundredths "$up"; now=$hs age= n= at=
  [ ! -e "$run/$1.renewed" ] || IFS=$t read -r n at _ <"$run/$1.renewed"
  if [ "$n" = "$number" ] && count "${at%.*}" && case $at in *.[0-9][0-9]) ;; *) false;; esac; then
    hundredths "$at"; age=$((now - hs)); [ $age -ge 0 ] || age=; fi
  [ -n "$holder" ] || return 0
  left=$((ttl * 100 - ${age:-$now}))
}
base() { case $1 in *-*-*) base=${1#*-*-}; base=${1%"-$base"};; *) base=$1;; esac; }
"""

_TAKE = rf"""
choose() {{ # sets new, the number for service $1, or prints why not; $2: this run's number before (0: none)
  inspect "$1" || return 1
  new= from=
  [ "$number" -ge "$2" ] || number=$2
  if [ "$2" -gt 0 ] && [ "$number" -gt "$2" ]; then emit fenced "$1" "$number" "$2" "$holder" "$who"; return 1; fi
  if [ "$holder" = "$me" ] || {{ [ "$2" -gt 0 ] && [ -z "$holder" ]; }}; then new=$number; return 0; fi
  next=$((number + 1))
  if [ -z "$holder" ] || [ $left -le 0 ]; then new=$next; return 0; fi
  if [ "$holder" = "$takeover" ]; then new=$next from=$holder; return 0; fi
  base "$me"; mine=$base; base "$holder"
  if [ "$mine" = "$base" ] && [ "${{age:-{CONTINUATION_DELAY}00}}" -ge {CONTINUATION_DELAY}00 ]; then
    new=$next; return 0; fi
  emit busy "$1" "$number" "$holder" "$who" "$since" "$ttl" "$age" "$(((left + 99) / 100))"; return 1
}}
write_checked() {{ # $1: temporary file; the rest: its fields. Reads it back: on a full disk printf may exit with 0.
  f=$1; shift
  line=$(emit "$@")
  printf '%s\n' "$line" 2>/dev/null >"$f" && [ "$(cat "$f")" = "$line" ]
}}
take() {{
  chosen= takeovers=
  for word in $requested; do
    s=${{word%%:*}}
    if choose "$s" "${{word#*:}}"; then
      chosen="$chosen $s:$new"
      [ -z "$from" ] || takeovers="$takeovers$(emit takeover "$s" "$new" "$from" "$who" "$since")
"
    else refused=1; fi
  done
  [ -z "$refused" ] || exit {BUSY}
  why= files= folders=
  for word in $chosen; do
    s=${{word%%:*}} n=${{word#*:}}
    why=$(mkdir -p "$records/$s" 2>&1) || break
    write_checked "$records/$s/.lease.$$" "$n" "$me" "$my_who" "$my_since" "$my_ttl" 2>/dev/null \
      || {{ why="$records/$s: cannot be written, $(free_space "$records/$s")"; break; }}
    write_checked "$run/.$s.renewed.$$" "$n" "$up" 2>/dev/null \
      || {{ why="$run: cannot be written, $(free_space "$run")"; break; }}
    files="$files $records/$s/.lease.$$" folders="$folders $records/$s"
  done
  [ -n "$why" ] || why=$(sync $files 2>&1)
  if [ -n "$why" ]; then
    for word in $chosen; do rm -f "$records/${{word%%:*}}/.lease.$$" "$run/.${{word%%:*}}.renewed.$$"; done
    emit error "$why"; exit 1
  fi
  for word in $chosen; do
    s=${{word%%:*}}
    mv -f "$run/.$s.renewed.$$" "$run/$s.renewed" && mv -f "$records/$s/.lease.$$" "$records/$s/lease" || exit 1
    echo $$ >"$run/$s.keeper"
  done
  sync $folders "$records"
  printf %s "$takeovers"
  for word in $chosen; do emit taken "${{word%%:*}}" "${{word#*:}}"; done
}}
free_space() {{ df -Pk "$1" | {{ read -r a; read -r a b c free rest; echo "$((free / 1024)) MB free there"; }}; }}
audit() {{ # logs every takeover among the lines on standard input to the system's journal
  while IFS=$t read -r word s n from who _; do
    [ "$word" = takeover ] || continue
    text="$s: run $me of $my_who took the lease over from run $from of $who, number $n"
    logger --journald 2>/dev/null <<END || logger -t gofallback -p daemon.warning -- "$text" 2>/dev/null
MESSAGE=$text
PRIORITY=4
SYSLOG_IDENTIFIER=gofallback
GOFALLBACK_EVENT=takeover
GOFALLBACK_SERVICE=$s
GOFALLBACK_RUN=$me
GOFALLBACK_WHO=$my_who
GOFALLBACK_FROM=$from
GOFALLBACK_FROM_WHO=$who
GOFALLBACK_NUMBER=$n
END
  done
}}
"""

# A keeper is identified by its process id. When its run has reconnected, the older keeper neither renews nor releases.
_KEEP = r"""
ours() { # true if the lease of service $1 still has number $2 and is kept by this shell
  read_lease "$1" && [ "$number" = "$2" ] && [ "$holder" = "$me" ] && [ "$(cat "$run/$1.keeper")" = $$ ]
}
renew() {
  read -r up _ <"$uptime"
  for word in $held; do
    s=${word%%:*} n=${word#*:}
    ours "$s" "$n" || { [ "$number" -le "$n" ] || emit fenced "$s" "$number" "$n" "$holder" "$who"; exit 1; }
    emit "$n" "$up" >"$run/.$s.renewed.$$" && mv -f "$run/.$s.renewed.$$" "$run/$s.renewed" || exit 1
  done
}
release() {
  for word in $held; do
    s=${word%%:*} n=${word#*:}
    ours "$s" "$n" || continue
    if write_checked "$records/$s/.lease.$$" "$n" '' '' '' '' && sync "$records/$s/.lease.$$"; then
      mv -f "$records/$s/.lease.$$" "$records/$s/lease"
    else # a full disk: without the renewal file the next run does not wait for the end of the ttl
      rm -f "$records/$s/.lease.$$" "$run/$s.renewed"
    fi
    rm -f "$run/$s.keeper"
  done
}
keep() { # one line of input per heartbeat; a whole ttl without one, or the end of the connection, ends it
  while beat=$(timeout "$my_ttl" sh -c 'read -r beat && printf %s "$beat"'); do
    with_locks "$services" renew || return 0
    emit renewed "$beat"
  done
  with_locks "$services" release >/dev/null 2>&1
}
"""


def hold(services: Mapping[str, int], request: LeaseRequest, paths: Paths = Paths()) -> str:
    """The script that takes the lease of every service or of none, prints ``held``, and renews at every heartbeat.

    `lease.holder.parse_result` reads its lines. A heartbeat is one word on a line of standard input; the script
    confirms it with ``renewed TAB word``.

    Args:
        services: names, each with the number this run had before (0: none). The same number is given again if no other
            run has had the lease since, even if it had expired.
        request: the run and its terms.
        paths: folders on the target.
    """
    names = sorted(services)
    return "\n".join(
        [
            *_start(paths),
            _READ.strip(),
            _LOCK.strip(),
            _INSPECT.strip(),
            _TAKE.strip(),
            _KEEP.strip(),
            f"me={_word(request.run_id)} my_who={_word(request.who)}",
            f"my_since={_word(request.since)} my_ttl={int(request.ttl)}",
            f"takeover={_word(request.takeover or 'nobody')} refused=",
            f"services={shlex.quote(' '.join(names))}",
            f"requested={shlex.quote(' '.join(f'{name}:{services[name]}' for name in names))}",
            'mkdir -p -m 755 "$run" || exit 1',
            'result=$(with_locks "$services" take); code=$?',
            'printf "%s\\n" "$result"; [ $code = 0 ] || exit $code',
            'printf "%s\\n" "$result" | audit',
            'held=$(printf \'%s\\n\' "$result" | sed -n "s/^taken$t\\\\([^$t]*\\\\)$t/\\\\1:/p")',
            "trap '' PIPE",
            "echo held",
            "keep",
        ]
    )


def guard(service: str, number: int, command: str, paths: Paths = Paths()) -> str:
    """A shell command that runs only while a number is current; no run can take the lease while it runs.

    If refused, it prints ``fenced TAB service TAB current number TAB this number TAB run TAB who`` and exits with
    `FENCED`.

    Args:
        service: name.
        number: of this run's lease; 0: no lease, the command is returned unchanged.
        command: short, because the next holder waits for its end.
        paths: folders on the target.
    """
    if number == 0:
        return command
    lock = shlex.quote(f"{paths.run}/{service}.lock")
    return "\n".join(
        [
            f"mkdir -p -m 755 {shlex.quote(paths.run)} && {{ [ -e {lock} ] || (umask 077; : >>{lock}); }} && (",
            *_start(paths),
            _READ.strip(),
            f"service={shlex.quote(service)}",
            f"flock -s -w {_LOCK_TIMEOUT} 9 || {{",
            '  echo "$run/$service.lock is held by a process that does not end"; exit 1; }',
            'read_lease "$service" || exit 1',
            f'[ "$number" -le {number} ] || {{',
            f'  emit fenced "$service" "$number" {number} "$holder" "$who"; exit {FENCED}; }}',
            command,
            f") 9>>{lock}",
        ]
    )


def _start(paths: Paths) -> Iterable[str]:
    return (
        _HEAD.strip(),
        f"records={shlex.quote(paths.records)} run={shlex.quote(paths.run)} uptime={shlex.quote(paths.uptime)}",
    )


def _word(text: str) -> str:
    """Quoted, in one line, without tabs and never empty: `read` with IFS=TAB skips empty fields."""
    return shlex.quote(re.sub(r"[\x00-\x1f\x7f]+", " ", text).strip() or "unknown")
