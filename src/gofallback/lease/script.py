"""The shell side of a lease on a target: taken, kept, given back, and asked before a write. Pure.

A lease is two small files, rewritten by rename under a short flock(1): `/var/lib/gofallback/<service>/lease` (number,
run id, who, since, ttl; given back: the number alone) and `/run/gofallback/<service>.renewed` (number, uptime of its
last renewal). The number never goes down and is on the disk before it is told. Ages are differences of /proc/uptime: a
wrong clock does not matter. sh, coreutils and util-linux of any Debian do: the first rollout finds no agent there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Seconds between two words of the controller, each a renewal.
HEARTBEAT = 3.0
#: Seconds of silence after which a run counts as dead for its own continuation: two heartbeats, and one for the way.
SILENT = 7
#: Exit status of a script when somebody else has a lease (EX_TEMPFAIL of sysexits.h) ...
BUSY = 75
#: ... and when a write came with a number that is not the current one any more.
FENCED = 76
#: Seconds the short flock is waited for.
_PATIENCE = 10


@dataclass(frozen=True)
class Places:
    """Where things lie on a target; tests have others."""

    records: str = "/var/lib/gofallback"
    run: str = "/run/gofallback"
    uptime: str = "/proc/uptime"


@dataclass(frozen=True)
class Terms:
    """What a run asks for."""

    run_id: str
    who: str
    """user@host of the controller."""
    since: str
    """RFC 3339, by the controller's clock: those of the targets may be wrong by days."""
    ttl: int = 30
    """Seconds after which a lease that is not renewed is free."""
    takeover: str | None = None
    """Id of the run that the lease may be taken from though it lives."""


_HEAD = r"""
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
t=$(printf '\t')
say() { printf '%s' "$1"; shift; [ $# = 0 ] || printf '\t%s' "$@"; echo; }
"""

# number, holder, who, since, ttl: as the file of service $1 says; one that says nothing of the kind is no free lease. A
# leading 0 would make it octal, and past 18 digits the shell counts from 1 again or goes below 0.
_READ = r"""
count() { case $1 in ''|*[!0-9]*|0?*|??????????????????*) return 1;; esac; }
read_lease() {
  number=0 holder= who= since= ttl=
  [ -e "$records/$1/lease" ] || return 0
  number=
  IFS=$t read -r number holder who since ttl _ <"$records/$1/lease"
  count "$number" || { say damaged "$1" "$records/$1/lease"; return 1; }
  [ -n "$holder" ] || return 0
  count "$ttl" && [ ${#ttl} -le 9 ] || { say damaged "$1" "$records/$1/lease"; return 1; }
}
"""

# The lock is opened for each service in a shell of its own, one inside the other: dash has one-digit descriptors only.
# Who may read a file may lock it: nobody but root.
_UNDER = rf"""
private() {{ [ -e "$1" ] || (umask 077; : >>"$1"); }}
under() {{ # $1: services still to lock; the rest runs once the locks of all of them are held
  case $1 in '') shift; "$@"; return;; esac
  private "$run/${{1%% *}}.lock"
  ( flock -w {_PATIENCE} 9 || {{ say error "$run/${{1%% *}}.lock is held by a process that does not end"; exit 1; }}
    rest=${{1#* }}; [ "$rest" != "$1" ] || rest=
    shift; under "$rest" "$@" ) 9>>"$run/${{1%% *}}.lock"
}}
"""

# Uptimes are counted in hundredths of a second, as /proc/uptime prints them: `1` before the last two digits keeps 08
# from being read as an octal number. An uptime before the last renewal's is another boot's.
_LOOK = r"""
hundredths() { hs=$((${1%.*} * 100 + 1${1#*.} - 100)); }
look() { # the lease of service $1, and in hundredths of a second: left (until it is free), age (since renewed, or '')
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
choose() {{ # what becomes of service $1, of which this run had number $2 before (0: none): new, or why not
  look "$1" || return 1
  new= from=
  [ "$number" -ge "$2" ] || number=$2
  if [ "$2" -gt 0 ] && [ "$number" -gt "$2" ]; then say fenced "$1" "$number" "$2" "$holder" "$who"; return 1; fi
  if [ "$holder" = "$me" ] || {{ [ "$2" -gt 0 ] && [ -z "$holder" ]; }}; then new=$number; return 0; fi
  next=$((number + 1))
  if [ -z "$holder" ] || [ $left -le 0 ]; then new=$next; return 0; fi
  if [ "$holder" = "$takeover" ]; then new=$next from=$holder; return 0; fi
  base "$me"; mine=$base; base "$holder"
  if [ "$mine" = "$base" ] && [ "${{age:-{SILENT}00}}" -ge {SILENT}00 ]; then new=$next; return 0; fi
  say busy "$1" "$number" "$holder" "$who" "$since" "$ttl" "$age" "$(((left + 99) / 100))"; return 1
}}
put() {{ # $1: a file beside the one it will be; the rest: what has to be in it. A full disk can say 0.
  f=$1; shift
  line=$(say "$@")
  printf '%s\n' "$line" 2>/dev/null >"$f" && [ "$(cat "$f")" = "$line" ]
}}
take() {{
  chosen= told=
  for word in $wanted; do
    s=${{word%%:*}}
    if choose "$s" "${{word#*:}}"; then
      chosen="$chosen $s:$new"
      [ -z "$from" ] || told="$told$(say takeover "$s" "$new" "$from" "$who" "$since")
"
    else refused=1; fi
  done
  [ -z "$refused" ] || exit {BUSY}
  why= files= folders=
  for word in $chosen; do
    s=${{word%%:*}} n=${{word#*:}}
    why=$(mkdir -p "$records/$s" 2>&1) || break
    put "$records/$s/.lease.$$" "$n" "$me" "$my_who" "$my_since" "$my_ttl" 2>/dev/null \
      || {{ why="$records/$s: cannot be written, $(room "$records/$s")"; break; }}
    put "$run/.$s.renewed.$$" "$n" "$up" 2>/dev/null || {{ why="$run: cannot be written, $(room "$run")"; break; }}
    files="$files $records/$s/.lease.$$" folders="$folders $records/$s"
  done
  [ -n "$why" ] || why=$(sync $files 2>&1)
  if [ -n "$why" ]; then
    for word in $chosen; do rm -f "$records/${{word%%:*}}/.lease.$$" "$run/.${{word%%:*}}.renewed.$$"; done
    say error "$why"; exit 1
  fi
  for word in $chosen; do
    s=${{word%%:*}}
    mv -f "$run/.$s.renewed.$$" "$run/$s.renewed" && mv -f "$records/$s/.lease.$$" "$records/$s/lease" || exit 1
    echo $$ >"$run/$s.keeper"
  done
  sync $folders "$records"
  printf %s "$told"
  for word in $chosen; do say taken "${{word%%:*}}" "${{word#*:}}"; done
}}
room() {{ df -Pk "$1" | {{ read -r a; read -r a b c free rest; echo "$((free / 1024)) MB free there"; }}; }}
announce() {{ # the audit line of every lease taken over, of the lines on standard input
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

# A keeper is known by its process id: one whose run came back on another connection neither renews nor gives back.
_KEEP = r"""
ours() { # the lease of service $1 is still the one with number $2 that this shell keeps
  read_lease "$1" && [ "$number" = "$2" ] && [ "$holder" = "$me" ] && [ "$(cat "$run/$1.keeper")" = $$ ]
}
renew() {
  read -r up _ <"$uptime"
  for word in $held; do
    s=${word%%:*} n=${word#*:}
    ours "$s" "$n" || { [ "$number" -le "$n" ] || say fenced "$s" "$number" "$n" "$holder" "$who"; exit 1; }
    say "$n" "$up" >"$run/.$s.renewed.$$" && mv -f "$run/.$s.renewed.$$" "$run/$s.renewed" || exit 1
  done
}
give_back() {
  for word in $held; do
    s=${word%%:*} n=${word#*:}
    ours "$s" "$n" || continue
    if put "$records/$s/.lease.$$" "$n" '' '' '' '' && sync "$records/$s/.lease.$$"; then
      mv -f "$records/$s/.lease.$$" "$records/$s/lease"
    else # a full disk: without this file nobody has to wait for the end of the ttl
      rm -f "$records/$s/.lease.$$" "$run/$s.renewed"
    fi
    rm -f "$run/$s.keeper"
  done
}
keep() { # one word a heartbeat; silence for a whole ttl, or the end of the connection, ends it
  while word=$(timeout "$my_ttl" sh -c 'read -r word && printf %s "$word"'); do
    under "$services" renew || return 0
    say renewed "$word"
  done
  under "$services" give_back >/dev/null 2>&1
}
"""


def hold(services: Mapping[str, int], terms: Terms, places: Places = Places()) -> str:
    """The script: takes the lease of every service or of none, says ``held``, and keeps them while words come in.

    Its lines are those that `release.lease.read` knows. A word on its standard input is answered ``renewed TAB word``.

    Args:
        services: names, each with the number this run had before (0: none). The same one is given again if nobody else
            has had the lease since, even when it had expired.
        terms: what is asked for.
        places: where things lie.
    """
    names = sorted(services)
    return "\n".join(
        [
            *_start(places),
            _READ.strip(),
            _UNDER.strip(),
            _LOOK.strip(),
            _TAKE.strip(),
            _KEEP.strip(),
            f"me={_word(terms.run_id)} my_who={_word(terms.who)} my_since={_word(terms.since)} my_ttl={int(terms.ttl)}",
            f"takeover={_word(terms.takeover or 'nobody')} refused=",
            f"services={shlex.quote(' '.join(names))}",
            f"wanted={shlex.quote(' '.join(f'{name}:{services[name]}' for name in names))}",
            'mkdir -p -m 755 "$run" || exit 1',
            'said=$(under "$services" take); code=$?',
            'printf "%s\\n" "$said"; [ $code = 0 ] || exit $code',
            'printf "%s\\n" "$said" | announce',
            'held=$(printf \'%s\\n\' "$said" | sed -n "s/^taken$t\\\\([^$t]*\\\\)$t/\\\\1:/p")',
            "trap '' PIPE",
            "echo held",
            "keep",
        ]
    )


def guard(service: str, number: int, command: str, places: Places = Places()) -> str:
    """A shell command that runs only while a number is current; nobody can take the lease while it runs.

    Refused it prints ``fenced TAB service TAB current number TAB this number TAB run TAB who`` and exits with `FENCED`.

    Args:
        service: name.
        number: of this run's lease; 0: no lease, the command as it stands.
        command: short, as the next holder waits for its end.
        places: where things lie.
    """
    if number == 0:
        return command
    lock = shlex.quote(f"{places.run}/{service}.lock")
    return "\n".join(
        [
            f"mkdir -p -m 755 {shlex.quote(places.run)} && {{ [ -e {lock} ] || (umask 077; : >>{lock}); }} && (",
            *_start(places),
            _READ.strip(),
            f"service={shlex.quote(service)}",
            f"flock -s -w {_PATIENCE} 9 || {{",
            '  echo "$run/$service.lock is held by a process that does not end"; exit 1; }',
            'read_lease "$service" || exit 1',
            f'[ "$number" -le {number} ] || {{',
            f'  say fenced "$service" "$number" {number} "$holder" "$who"; exit {FENCED}; }}',
            command,
            f") 9>>{lock}",
        ]
    )


def _start(places: Places) -> Iterable[str]:
    return (
        _HEAD.strip(),
        f"records={shlex.quote(places.records)} run={shlex.quote(places.run)} uptime={shlex.quote(places.uptime)}",
    )


def _word(text: str) -> str:
    """Quoted, in one line and without tabs; never empty, as an empty field of a tab separated line is no field."""
    return shlex.quote(re.sub(r"[\x00-\x1f\x7f]+", " ", text).strip() or "unknown")
