"""The scripts that bring a release to a target, and the readers of what they tell. Pure.

An upload is one channel: `receive` makes room, takes what is already on the target from there (hard links), unpacks the
rest from its standard input and hashes everything. `finish` renames the folder into place: a release is whole or not
there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from gofallback.lease.script import guard
from gofallback.release.agent_config import AGENT
from gofallback.release.archive import archive_size
from gofallback.release.upload import Program, Upload

#: Programs of the target's PATH, whatever sudo's is.
_PROLOGUE = "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; umask 022; set -u"


def receive(upload: Upload) -> str:
    """The script: answers in lines of ``word TAB detail``, last ``received`` or ``fail TAB kind TAB text``."""
    lines = [*_room(upload), *_linked(upload), *_unpacked(upload)]
    agent = next((program for program in upload.programs if program.path == AGENT), None)
    if agent is not None:
        shared = f"/opt/gofallback/agent/{agent.sha256}"
        lines.append(f'[ -e {shared} ] || ln "$tmp"/{AGENT} {shared}')
    lines += [
        'SYSTEMD_COLORS=0 systemd-analyze verify --man=no "$tmp"/.verify/* 2>&1 </dev/null |'
        " while IFS= read -r line; do printf 'verify\\t%s\\n' \"$line\"; done",
        'rm -rf "$tmp/.verify" "$tmp/.extras"; chmod 755 "$tmp"',
        "echo received",
    ]
    return "\n".join(lines)


def _room(upload: Upload) -> list[str]:
    """The user, the folders, and enough free disk."""
    home, service = upload.files.home, upload.files.service
    free = upload.needed // 1024 + upload.minimum_free_mb * 1024
    quote = shlex.quote
    return [
        _PROLOGUE,
        f"home={quote(home)} tmp={quote(upload.temporary)} user={quote(upload.user)} service={quote(service)}",
        'fail() { rm -rf "$tmp"; printf \'fail\\t%s\\t%s\\n\' "$1" "$(printf %s "$2" | tail -n 1)"; exit 1; }',
        'if ! id -u "$user" >/dev/null 2>&1; then',
        '  group=--user-group; getent group "$user" >/dev/null && group="--gid $user"',
        '  out=$(useradd --system $group --no-create-home --home-dir "/var/lib/$service" --shell /usr/sbin/nologin'
        ' --comment "gofallback $service" "$user" 2>&1) || fail user "$out"; fi',
        'out=$(mkdir -p "$home/releases" /opt/gofallback/agent "/var/lib/gofallback/$service" 2>&1)'
        ' || fail folder "$out"',
        'chmod 755 "$home" "$home/releases" /opt/gofallback /opt/gofallback/agent',
        'out=$(install -d -m 750 -o "$user" -g "$(id -gn "$user")" "/var/log/$service" 2>&1) || fail folder "$out"',
        # the lease is ours: whoever wrote these is dead, or a later run has told us so
        guard(service, upload.number, 'rm -rf "$home"/releases/.tmp-*') + " || exit",
        'free=$(df -Pk "$home" | { read -r a; read -r a b c free rest; echo "$free"; })',
        f'[ "$free" -ge {free} ] || fail disk "$((free / 1024)) MB free below $home, {-(-free // 1024)} MB are needed"',
        'out=$(mkdir "$tmp" "$tmp/bin" "$tmp/lib" "$tmp/conf" 2>&1) || fail folder "$out"',
    ]


def _linked(upload: Upload) -> list[str]:
    """Programs that should be on the target already."""
    lines = []
    for program in upload.programs:
        target = f'"$tmp"/{shlex.quote(program.path)}'
        for have in map(shlex.quote, program.have):
            lines.append(
                f"[ -e {target} ] || ! [ -f {have} ] || ln {have} {target} 2>/dev/null"
                f" || cp --reflink=auto {have} {target}"
            )
    return lines


def _unpacked(upload: Upload) -> list[str]:
    """What is sent, what the target gets itself, and the hash of everything."""
    # head takes no byte more than it is told (coreutils), so that what follows the tar is left for the agent
    tar = f"head -c {archive_size(upload)} | tar -xpf -" if upload.fetched else "tar -xpf -"
    lines = [
        f'out=$({tar} -C "$tmp" 2>&1) || {{ case $out in'
        ' *"No space left"*|*"Wrote only"*) fail disk "the disk filled up";; esac;'
        ' fail transfer "the upload is incomplete: $(printf %s "$out" | head -n 1)"; }',
    ]
    for program in upload.programs:
        lines += [] if program.fetched else _checked(program)
    if upload.fetched:
        lines.append(f'"$tmp"/{AGENT} fetch || fail fetch "its agent ended with status $?"')
    for program in upload.programs:
        lines += _checked(program) if program.fetched else []
    if upload.extras:
        lines.append(_EXTRAS)
    return lines


def _checked(program: Program) -> list[str]:
    target = f'"$tmp"/{shlex.quote(program.path)}'
    return [
        f"sum=$(sha256sum <{target} 2>/dev/null) || sum=; sum=${{sum%% *}}",
        f'[ "$sum" = {program.sha256} ] || fail hash {shlex.quote(program.path)}" $sum"',
        f"chown root:root {target}; chmod 755 {target}",
    ]


#: What the target has already is linked, or copied where its mode or owner is another one: a link's are those of every
#: name it has. Then every further file is hashed, and only then it counts. Programs are made root's as tar left them.
_EXTRAS = r"""tab=$(printf '\t')
while IFS=$tab read -r mode path have; do
  [ -e "$tmp/$path" ] || ! [ -f "$have" ] ||
    { [ "$(stat -c '%a %u %g' "$have")" = "$mode 0 0" ] && ln "$have" "$tmp/$path" 2>/dev/null; } ||
    { cp --reflink=auto "$have" "$tmp/$path" && chmod "$mode" "$tmp/$path"; }
done <"$tmp/.extras/have"
out=$(cd "$tmp" && sha256sum --quiet -c .extras/sums 2>/dev/null) || {
  path=${out%%: FAILED*}; sum=$(sha256sum <"$tmp/$path" 2>/dev/null) || sum=
  fail hash "$path ${sum%% *}"; }"""


def finish(upload: Upload) -> str:
    """The script that renames an upload into place; the folder has its final name only when it is on the disk."""
    final, temporary = shlex.quote(upload.files.folder), shlex.quote(upload.temporary)
    old = shlex.quote(f"{upload.files.home}/releases/.tmp-old-{upload.run_id}")
    move, rest = f"mv -T {temporary} {final}", ""
    if upload.replace:
        move = f"[ ! -e {final} ] || mv -T {final} {old}; {move}"
        rest = f"rm -rf {old}"
    fenced = guard(upload.files.service, upload.number, move)
    return f"{_PROLOGUE}\nsync -f {temporary} 2>/dev/null || sync\nrm -rf {old}\n{fenced} || exit\n{rest}"


def abandon(upload: Upload) -> str:
    """The script that removes an upload that will not be used."""
    return f"rm -rf {shlex.quote(upload.temporary)}"


#: systemd 247 colours its messages even where nobody sees them.
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_UNKNOWN = re.compile(r"Unknown (?:key(?: name)?|lvalue) '(?P<name>[^']+)' in section")


def unit_problems(lines: Iterable[str], units: Iterable[str], optional: Iterable[str]) -> list[str]:
    """Of what `systemd-analyze verify` printed, that which is about our units and is wrong.

    Args:
        lines: its output; it also talks about units that ours only depend on.
        units: file names of ours.
        optional: directives an older systemd may not know: it ignores them, and the service is none the worse for it.
    """
    names, known, found = tuple(units), frozenset(optional), []
    for coloured in lines:
        line = _COLOUR.sub("", coloured)
        about = any(f"/{name}:" in line or line.startswith(f"{name}:") or f"Unit {name} " in line for name in names)
        unknown = _UNKNOWN.search(line)
        if not about or (unknown and unknown["name"] in known):
            continue
        found.append(re.sub(r"^\S*/\.verify/", "", line.strip()))
    return found


def failure(lines: Iterable[str]) -> tuple[str, str] | None:
    """Kind and text of the ``fail`` line; None without one."""
    for line in lines:
        word, _, rest = line.partition("\t")
        if word == "fail":
            kind, _, text = rest.partition("\t")
            return kind, text
    return None
