"""The steps of `gofallback.builder.shell.Shell` for a POSIX sh with coreutils or busybox. Pure.

Rules: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html. Beyond POSIX are `sha256sum`, `tar`,
`stat -c` and `readlink -f`, which coreutils, GNU tar and busybox all have.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gofallback.builder.paths import MARKER, join, literal, name, parent

#: Variables that are read; never the whole environment, which may hold secrets.
VARIABLES = ("MACHINE", "NUMBER_OF_PROCESSORS", "USERNAME", "HOME")
#: Programs that provisioning may need; the archives decide which (`Sh.unpack_tools`).
TOOLS = ("sha256sum", "tar", "gzip", "xz", "unzip", "bsdtar", "python3", "curl", "wget")


@dataclass(frozen=True)
class Sh:
    """Steps for sh; `gofallback.builder.shell.Shell` documents the methods."""

    def command(self, argv: Sequence[str]) -> str:
        return shlex.join(argv)

    def script(self, steps: Sequence[str], *, always: bool = False) -> str:
        return "; ".join([*steps, "exit 0"] if always else steps)

    def enter(self, folder: str) -> str:
        return f"cd {literal(folder)} || exit 1"

    def then(self, step: str, *after: str) -> str:
        return f"{step} && {{ {'; '.join(after)}; }}"

    def or_exit(self, step: str, what: str) -> str:
        return f"{{ {step}; }} || {{ echo {shlex.quote('@failed ' + what)}; exit 1; }}"

    def quiet(self, step: str) -> str:
        return f"{step} >/dev/null"

    def prepared(self, line: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        # An empty value is not the same as no value: git would search its repository in "".
        unset = [variable for variable, value in environment.items() if not value]
        given = {variable: value for variable, value in environment.items() if value}
        return (f"unset {' '.join(unset)}; {line}" if unset else line), given

    def echo(self, text: str) -> str:
        return f"echo {shlex.quote(text)}"

    def if_there(self, path: str, step: str) -> str:
        return f"if [ -e {literal(path)} ]; then {step}; fi"

    def unless_there(self, path: str, step: str) -> str:
        return f"if [ ! -e {literal(path)} ]; then {step}; fi"

    def show(self, path: str) -> str:
        return f"cat {literal(path)} 2>/dev/null; echo"

    def hash(self, path: str) -> str:
        return f"if [ -f {literal(path)} ]; then sha256sum < {literal(path)} | cut -c1-64; fi"

    def measure(self, path: str) -> str:
        return f'if [ -f {literal(path)} ]; then echo "@size $(stat -L -c %s {literal(path)})"; {self.hash(path)}; fi'

    def list_files(self, folder: str) -> str:
        # -H: the folder itself may be a link, to a larger disk for one; links below it are not followed.
        return f"find -H {literal(folder)} -type f -exec stat -c '%s %n' {{}} +"

    def check_files(self, listing: str, folder: str) -> str:
        file = literal(listing)
        there = f"(cd {literal(folder)} && cut -d ' ' -f 2 {file} | xargs stat -L -c '%s %n' 2>/dev/null)"
        wrong = 'FILENAME != listing { there[$0] = 1; next } !($0 in there) { print "@missing", $2 }'
        return f"{there} | awk -v listing={file} {shlex.quote(wrong)} - {file}"

    def make(self, folder: str) -> str:
        return f"mkdir -p {literal(folder)}"

    def check_folders(self, folders: Sequence[str]) -> str:
        return "; ".join(f"[ -d {literal(path)} ] || echo @missing {index}" for index, path in enumerate(folders))

    def remove(self, folder: str) -> str:
        # Go's module cache has folders without permission to write, from which rm removes nothing.
        path = literal(folder)
        return f"{{ rm -rf {path} 2>/dev/null || {{ chmod -R u+w {path}; rm -rf {path}; }}; }}"

    def delete(self, path: str) -> str:
        return f"rm -f {literal(path)}"

    def delete_parts(self, path: str) -> str:
        # `.name.*` is the rest of a broken upload (gofallback.connectors.linssh)
        hidden = join(parent(path), f".{name(path)}")
        return f"rm -f {literal(path)}.* {literal(hidden)}.*"

    def sweep(self, folder: str, prefix: str) -> str:
        return f"rm -rf {literal(join(folder, prefix))}*"

    def remove_aside(self, path: str, aside: str) -> str:
        source, target = literal(path), literal(aside)
        moved = f"if [ -d {literal(parent(aside))} ]; then mv {source} {target} 2>/dev/null; fi"
        present = f"if [ -e {source} ] || [ -L {source} ]; then echo @there; fi"
        return "; ".join([moved, self.remove(aside), self.remove(path), present])

    def copy(self, source: str, target: str) -> str:
        return f"cp {literal(source)} {literal(target)}"

    def replace(self, source: str, target: str) -> str:
        return f"mv -f {literal(source)} {literal(target)}"

    def write(self, path: str, line: str) -> str:
        return f"echo {shlex.quote(line)} > {literal(path)}"

    def put_in_place(
        self, new: str, final: str, proofs: Sequence[str], *, mark: str | None = None, aside: str | None = None
    ) -> str:
        fresh, target = literal(new), literal(final)
        away = f"mv {target} {literal(aside)}" if aside else self.remove(final)
        steps = [
            *([mark] if mark else []),
            self.make(parent(final)),
            f"if [ -e {target} ]; then {away}; fi",
            # `mv` onto a folder that is still there would put the new one into it.
            f"[ -e {target} ] || mv {fresh} {target}",
        ]
        proven = " && ".join([*(f"[ -e {literal(join(final, one))} ]" for one in proofs), f"[ ! -e {fresh} ]"])
        # A second attempt must not touch what the first one has put in place although its answer was lost.
        return f"if [ -d {fresh} ]; then {'; '.join(steps)}; fi; if {proven}; then echo @done; fi"

    def claim(self, new: str, final: str) -> str:
        moved = self.unless_there(final, f"mv {literal(new)} {literal(final)}")
        strayed = join(final, name(new))
        return f"{self.make(parent(final))}; {moved}; if [ -d {literal(strayed)} ]; then {self.remove(strayed)}; fi"

    def prune(self, newest: str, keep: int) -> str:
        # Names are ours: commits and keys.
        rest = f'ls -1t | tail -n +{keep + 1} | while read -r one; do [ "$one" = {name(newest)} ] || rm -rf "./$one"'
        return f"(cd {literal(parent(newest))} && {rest}; done)"

    def unpack(self, archive: str, folder: str) -> str:
        file, target = literal(archive), literal(folder)
        if not _is_zip(archive):
            return f"tar -xf {file} -C {target}"
        ways = (f"unzip -q -o {file} -d {target}", f"bsdtar -xf {file} -C {target}")
        first = " ".join(
            f"{'elif' if number else 'if'} command -v {way.split()[0]} >/dev/null; then {way};"
            for number, way in enumerate(ways)
        )
        return f"{first} else python3 -c {shlex.quote(_UNZIP)} {file} {target}; fi"

    def unpack_tools(self, archive: str) -> Sequence[Sequence[str]]:
        if _is_zip(archive):
            return [["unzip", "bsdtar", "python3"]]
        packer = {"gz": ["gzip"], "tgz": ["gzip"], "xz": ["xz"], "txz": ["xz"]}.get(archive.rpartition(".")[2])
        return [["tar"], *([packer] if packer else [])]

    def download(self, url: str, part: str, final: str) -> str:
        address, file = shlex.quote(url), literal(part)
        curl = f"curl --fail --silent --show-error --location --retry 2 --connect-timeout 20 --output {file} {address}"
        wget = f"wget -T 60 -O {file} {address}"  # without -q, which hides the cause of a failure
        return f"if command -v curl >/dev/null; then {curl}; else {wget}; fi && {self.replace(part, final)}"

    def free(self, root: str) -> str:
        # of the nearest folder above that is there
        climb = f'd={literal(root)}; while [ ! -d "$d" ]; do d=$(dirname "$d"); done'
        return f'{climb}; df -Pk "$d" | tail -n 1'

    def state(self, root: str) -> str:
        """One command; only coreutils and, where they exist, the machine's own go and git run; nothing is changed.

        The output's sections begin with ``@@name``; ``@@end`` proves that nothing was cut off.
        """
        return _GATHER.format(
            root=literal(root), free=self.free(root), tools=" ".join(TOOLS), marker=MARKER
        ).strip()  # fmt: skip


_GATHER = r"""
echo @@version; (. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME"); uname -sr
echo @@environment; echo "MACHINE=$(uname -m)"; echo "NUMBER_OF_PROCESSORS=$(nproc 2>/dev/null)"
echo "USERNAME=$(id -un)"; echo "HOME=$HOME"
echo @@tools; for t in {tools}; do command -v "$t" >/dev/null 2>&1 && echo "$t"; done
machine() {{
  seen=
  for p in "$2" "$(command -v "$1")"; do
    [ -x "$p" ] || continue
    p=$(readlink -f "$p"); [ "$p" != "$seen" ] || continue
    seen=$p; echo "@p ${{p%/bin/*}}"
    if [ "$1" = go ]; then cat "${{p%/bin/*}}/VERSION"; else "$p" --version; fi 2>/dev/null
  done
}}
echo @@go; machine go /usr/local/go/bin/go
echo @@git; machine git /usr/bin/git
echo @@free; {free}
[ -e {root} ] || {{ echo @@end; exit 0; }}
cd {root} 2>/dev/null && [ -r . ] || {{ echo @@unreadable; exit 0; }}
each() {{ for d in "$1"*/; do [ -d "$d" ] && d=${{d%/}} && "$2" "${{d##*/}}" "$d"; done; }}
top() {{ echo "$1"; }}
echo @@folders; each '' top
within() {{ echo "$2"; }}
each cache/ within
echo @@toolchains
toolchain() {{
  echo "@d $1"; cat "$2/{marker}" 2>/dev/null
  [ ! -x "$2/bin/go" ] || echo @x go; [ ! -x "$2/bin/git" ] || echo @x git; [ ! -x "$2/zig" ] || echo @x zig
}}
each toolchains/ toolchain
echo @@leftovers; for f in tmp/* tmp/.[!.]*; do [ -e "$f" ] && echo "${{f##*/}}"; done
echo @@downloads; for f in downloads/*; do [ -f "$f" ] && echo "$(stat -L -c %s "$f") ${{f##*/}}"; done
echo @@mirrors
mirror() {{ echo "@d $1"; cat "$2/packed-refs" 2>/dev/null; }}
each mirrors/ mirror
echo @@checkouts
checkouts() {{ for k in "$2"/*/; do [ -d "$k" ] && k=${{k%/}} && echo "$1 ${{k##*/}}"; done; }}
each work/ checkouts
echo @@end
exit 0
"""


#: `python3 -m zipfile` forgets which files may be executed.
_UNZIP = """\
import os, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
for entry in archive.infolist():
    path, mode = archive.extract(entry, sys.argv[2]), entry.external_attr >> 16 & 0o777
    if mode and not entry.is_dir():
        os.chmod(path, mode)
"""


def _is_zip(archive: str) -> bool:
    """Whether it is a zip archive, by its name; a wheel is one."""
    return bool(re.search(r"\.(zip|whl)$", posixpath.basename(archive)))
