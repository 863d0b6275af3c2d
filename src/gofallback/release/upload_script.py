"""The scripts that upload a release to a target, and the parsers of their output. Pure.

An upload is one channel: `receive_script` prepares folders and space, hard-links files that the target has already,
unpacks the rest from its standard input and hashes everything. `install_script` renames the folder into place: a
release is complete or absent.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import NamedTuple

from gofallback.lease.script import guard
from gofallback.release.agent_config import AGENT
from gofallback.release.archive import archive_size
from gofallback.release.upload import Program, Upload

#: Sets PATH whatever sudo's is.
_PROLOGUE = "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; umask 022; set -u"


def receive_script(upload: Upload) -> str:
    """The script that receives an upload.

    It prints lines of ``word TAB detail``; the last one is ``received`` or ``fail TAB kind TAB text``.
    """
    lines = [*_prepare(upload), *_link(upload), *_unpack(upload)]
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


def _prepare(upload: Upload) -> list[str]:
    """Create the user and the folders, and check the free space."""
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
        # this run has the lease: the run that wrote these has ended; if a later run has it, the guard refuses
        guard(service, upload.number, 'rm -rf "$home"/releases/.tmp-*') + " || exit",
        'free=$(df -Pk "$home" | { read -r a; read -r a b c free rest; echo "$free"; })',
        f'[ "$free" -ge {free} ] || fail disk "$((free / 1024)) MB free below $home, {-(-free // 1024)} MB are needed"',
        'out=$(mkdir "$tmp" "$tmp/bin" "$tmp/lib" "$tmp/conf" 2>&1) || fail folder "$out"',
    ]


def _link(upload: Upload) -> list[str]:
    """Link programs that should be on the target already."""
    lines = []
    for program in upload.programs:
        target = f'"$tmp"/{shlex.quote(program.path)}'
        for copy in map(shlex.quote, program.copies):
            lines.append(
                f"[ -e {target} ] || ! [ -f {copy} ] || ln {copy} {target} 2>/dev/null"
                f" || cp --reflink=auto {copy} {target}"
            )
    return lines


def _unpack(upload: Upload) -> list[str]:
    """Unpack the archive, pull the programs that come from a store, and hash everything."""
    # head of coreutils reads exactly so many bytes: the request after the tar is left for the agent
    tar = f"head -c {archive_size(upload)} | tar -xpf -" if upload.fetched else "tar -xpf -"
    lines = [
        f'out=$({tar} -C "$tmp" 2>&1) || {{ case $out in'
        ' *"No space left"*|*"Wrote only"*) fail disk "the disk filled up";; esac;'
        ' fail transfer "the upload is incomplete: $(printf %s "$out" | head -n 1)"; }',
    ]
    for program in upload.programs:
        lines += [] if program.fetched else _verify(program)
    if upload.fetched:  # by the uploaded agent, which is verified by now
        lines.append(f'"$tmp"/{AGENT} fetch || fail fetch "its agent ended with status $?"')
    for program in upload.programs:
        lines += _verify(program) if program.fetched else []
    if upload.extra_files:
        lines.append(_EXTRA_FILES)
    return lines


def _verify(program: Program) -> list[str]:
    target = f'"$tmp"/{shlex.quote(program.path)}'
    return [
        f"sum=$(sha256sum <{target} 2>/dev/null) || sum=; sum=${{sum%% *}}",
        f'[ "$sum" = {program.sha256} ] || fail hash {shlex.quote(program.path)}" $sum"',
        f"chown root:root {target}; chmod 755 {target}",
    ]


#: Extra files that the target has already are linked, or copied if mode or owner differ: all links of a file share
#: them. Then every extra file is hashed.
_EXTRA_FILES = r"""tab=$(printf '\t')
while IFS=$tab read -r mode path have; do
  [ -e "$tmp/$path" ] || ! [ -f "$have" ] ||
    { [ "$(stat -c '%a %u %g' "$have")" = "$mode 0 0" ] && ln "$have" "$tmp/$path" 2>/dev/null; } ||
    { cp --reflink=auto "$have" "$tmp/$path" && chmod "$mode" "$tmp/$path"; }
done <"$tmp/.extras/have"
out=$(cd "$tmp" && sha256sum --quiet -c .extras/sums 2>/dev/null) || {
  path=${out%%: FAILED*}; sum=$(sha256sum <"$tmp/$path" 2>/dev/null) || sum=
  fail hash "$path ${sum%% *}"; }"""


def install_script(upload: Upload) -> str:
    """The script that renames an upload into place. The folder gets its final name only after it is on the disk."""
    final, temporary = shlex.quote(upload.files.folder), shlex.quote(upload.temporary)
    old = shlex.quote(f"{upload.files.home}/releases/.tmp-old-{upload.run_id}")
    move, rest = f"mv -T {temporary} {final}", ""
    if upload.replace:
        move = f"[ ! -e {final} ] || mv -T {final} {old}; {move}"
        rest = f"rm -rf {old}"
    fenced = guard(upload.files.service, upload.number, move)
    return f"{_PROLOGUE}\nsync -f {temporary} 2>/dev/null || sync\nrm -rf {old}\n{fenced} || exit\n{rest}"


def discard_script(upload: Upload) -> str:
    """The script that removes an upload that is not used."""
    return f"rm -rf {shlex.quote(upload.temporary)}"


#: systemd 247 colours its messages without a terminal too.
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_UNKNOWN = re.compile(r"Unknown (?:key(?: name)?|lvalue) '(?P<name>[^']+)' in section")


def unit_problems(lines: Iterable[str], units: Iterable[str], optional: Iterable[str]) -> list[str]:
    """Problems of the release's units in the output of `systemd-analyze verify`.

    Args:
        lines: the output; it also reports units that the release's units depend on.
        units: file names of the release's units.
        optional: directives that an older systemd may not know; it ignores them without harm.
    """
    names, known, problems = tuple(units), frozenset(optional), []
    for coloured in lines:
        line = _COLOUR.sub("", coloured)
        about = any(f"/{name}:" in line or line.startswith(f"{name}:") or f"Unit {name} " in line for name in names)
        unknown = _UNKNOWN.search(line)
        if not about or (unknown and unknown["name"] in known):
            continue
        problems.append(re.sub(r"^\S*/\.verify/", "", line.strip()))
    return problems


class UploadFailure(NamedTuple):
    """Why an upload failed."""

    kind: str
    """``disk``, ``hash``, ``folder``, ``user``, ``transfer``, ``fetch``, or a kind of the agent's `fetch`."""
    text: str


def parse_failure(lines: Iterable[str]) -> UploadFailure | None:
    """The ``fail`` line of `receive_script`, or None."""
    for line in lines:
        word, _, rest = line.partition("\t")
        if word == "fail":
            kind, _, text = rest.partition("\t")
            return UploadFailure(kind, text)
    return None
