"""The scripts that bring a release to a target, and the tar they read. Pure.

An upload is one channel: `receive` makes room, takes what is already on the target from there (hard links), unpacks the
rest from its standard input and hashes everything. `finish` renames the folder into place: a release is whole or not
there.
"""

from __future__ import annotations

import re
import shlex
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gofallback.release.agentfiles import AGENT
from gofallback.release.lease_script import guard
from gofallback.release.pull import Source, Wanted
from gofallback.release.render import ReleaseFiles

CHUNK = 1 << 18
_BLOCK = 512
#: Programs of the target's PATH, whatever sudo's is.
_PROLOGUE = "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; umask 022; set -u"


@dataclass(frozen=True)
class Program:
    """A program of a release: a binary of the service or the agent; or another file that is sent as it is."""

    path: str
    """Inside the release."""
    sha256: str
    size: int
    """Bytes."""
    local: Path
    """The file on the controller."""
    have: tuple[str, ...] = ()
    """Absolute paths on the target that should hold the same bytes: linked, not sent, if they really do."""
    mode: int = 0o755
    source: Source | None = None
    """Where the target gets it itself; None: it is sent. The agent is always sent, as it does the fetching."""

    @property
    def fetched(self) -> bool:
        """Whether the target gets it itself."""
        return self.source is not None and not self.have


@dataclass(frozen=True)
class Upload:
    """One release on its way to one target."""

    files: ReleaseFiles
    user: str
    run_id: str
    manifest: bytes
    programs: tuple[Program, ...]
    minimum_free_mb: int = 64
    replace: bool = False
    """A folder of that name is there and damaged: put the new one in its place."""
    number: int = 0
    """Of the run's lease: what it fences is written only while no later run has one. 0: not fenced."""
    beside: Mapping[str, bytes] = field(default_factory=dict)
    """Name to content of files that lie beside manifest.json: what proves where the binary came from."""
    extras: tuple[Program, ...] = ()
    """Further files: there may be thousands, so that their names go through the archive, not into a command."""

    @property
    def temporary(self) -> str:
        """Folder the upload goes to."""
        return f"{self.files.home}/releases/.tmp-{self.files.id}-{self.run_id}"

    @property
    def needed(self) -> int:
        """Bytes that come to the target."""
        return self.sent + sum(one.size for one in self.fetched)

    @property
    def sent(self) -> int:
        """Bytes that the controller sends."""
        parts = (*self.programs, *self.extras)
        sent = sum(program.size for program in parts if not program.have and not program.fetched)
        small = [file.content for file in self.files.files.values()] + [self.manifest, *self.beside.values()]
        return sent + sum(len(content) for content in small)

    @property
    def fetched(self) -> tuple[Wanted, ...]:
        """What the target gets itself."""
        return tuple(
            Wanted(f"{self.temporary}/{one.path}", one.sha256, one.size, one.source)
            for one in self.programs
            if one.source is not None and one.fetched
        )


def receive(upload: Upload) -> str:
    """The script: answers in lines of ``word TAB detail``, last ``received`` or ``fail TAB kind TAB text``."""
    home, temporary, service = upload.files.home, upload.temporary, upload.files.service
    free = upload.needed // 1024 + upload.minimum_free_mb * 1024
    quote = shlex.quote
    lines = [
        _PROLOGUE,
        f"home={quote(home)} tmp={quote(temporary)} user={quote(upload.user)} service={quote(service)}",
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
    for program in upload.programs:
        target = f'"$tmp"/{quote(program.path)}'
        for have in program.have:
            lines.append(
                f"[ -e {target} ] || ! [ -f {quote(have)} ] || ln {quote(have)} {target} 2>/dev/null"
                f" || cp --reflink=auto {quote(have)} {target}"
            )
    # head takes no byte more than it is told (coreutils), so that what follows the tar is left for the agent
    tar = f"head -c {archive_size(upload)} | tar -xpf -" if upload.fetched else "tar -xpf -"
    lines += [
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


def archive(upload: Upload) -> Iterator[bytes]:
    """The tar that `receive` reads, in pieces; a program is read as it is sent, never held whole."""
    for header, size, content in _members(upload):
        yield header
        yield from _read(content, size) if isinstance(content, Path) else [content]
        yield bytes(-size % _BLOCK)
    yield bytes(2 * _BLOCK)


def archive_size(upload: Upload) -> int:
    """Bytes of `archive`."""
    return sum(len(header) + size + -size % _BLOCK for header, size, _ in _members(upload)) + 2 * _BLOCK


def _members(upload: Upload) -> Iterator[tuple[bytes, int, bytes | Path]]:
    """Header, bytes and content of every member."""
    parts = (*upload.programs, *upload.extras)
    programs = {program.path: program for program in parts if not program.have and not program.fetched}
    files = {path: file.content for path, file in upload.files.files.items()}
    files |= {"manifest.json": upload.manifest, **upload.beside}
    paths = [*files, *(extra.path for extra in upload.extras)]
    folders = {str(parent) for path in paths for parent in Path(path).parents if str(parent) != "."}
    for folder in sorted(folders | {"bin", "lib", "conf", ".verify"}):
        yield _header(folder, 0o755, kind=tarfile.DIRTYPE), 0, b""
    modes = {path: file.mode for path, file in upload.files.files.items()}
    for path, content in sorted(files.items()):
        yield _header(path, modes.get(path, 0o644), len(content)), len(content), content
    for name, content in verifiable(upload).items():
        yield _header(f".verify/{name}", 0o644, len(content)), len(content), content
    for name, content in _lists(upload.extras).items():
        yield _header(f".extras/{name}", 0o600, len(content)), len(content), content
    for path, program in sorted(programs.items()):
        yield _header(path, program.mode, program.size), program.size, program.local


def _read(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while size and (chunk := file.read(min(CHUNK, size))):
            size -= len(chunk)
            yield chunk
    if size:  # it shrank while it was read: the hash check on the target will say so
        yield bytes(size)


def _lists(extras: tuple[Program, ...]) -> dict[str, bytes]:
    """What `_EXTRAS` reads: which file is where on the target, and what each must be."""
    if not extras:
        return {}
    have = [f"{extra.mode:o}\t{extra.path}\t{place}\n" for extra in extras for place in extra.have]
    sums = [f"{extra.sha256}  {extra.path}\n" for extra in extras]
    return {"have": "".join(have).encode(), "sums": "".join(sums).encode()}


def verifiable(upload: Upload) -> dict[str, bytes]:
    """The units as `systemd-analyze verify` has to see them: with programs that exist, in the upload's folder."""
    current, temporary = f"{upload.files.home}/current/".encode(), f"{upload.temporary}/".encode()
    return {name: file.content.replace(current, temporary) for name, file in upload.files.units.items()}


def _header(name: str, mode: int, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.mode, info.size, info.type, info.uname, info.gname = mode, size, kind, "root", "root"
    return info.tobuf(tarfile.GNU_FORMAT)


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
