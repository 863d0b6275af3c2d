"""The modules of a commit on their way to a builder: asked once what is there, and each byte sent once.

They become files below ``cache/modproxy``, which go on the builder reads as a proxy (GOPROXY=file://). A receipt lists
names and sizes of all files of a set, and the builder compares them with what is there: one question, one short answer.
go verifies the bytes with go.sum when it takes them.
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gevent.lock import RLock
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.builder.paths import Layout, join, os_of, separator
from gofallback.builder.shell import Shell, shell_of
from gofallback.facts.builder import builder_state, forget
from gofallback.gomod.download import ModuleFile, ModuleSet, check
from gofallback.operations.remote import fail, run_command, send
from gofallback.operations.stale_files import new_mark
from gofallback.report.style import size_text

_UNPACK_TIMEOUT = 900.0
_LOOK_TIMEOUT = 300.0
_ROOM = 4
"""Times its size that a module takes there: the archive, the proxy's file, go's copy of it, go's unpacked one."""
_RECEIPTS = "receipts"
_LONGEST = 258
"""Characters of a path: MAX_PATH (260) with its NUL, and the backslash behind the folder."""


@dataclass(frozen=True)
class Delivery:
    """The modules of one commit for one builder."""

    label: str
    """Service and version, for lines."""
    found: ModuleSet
    root: str
    """Of the builder."""
    scratch: Path
    """Folder on the controller for the archive, which is removed again."""
    mark: str = field(default_factory=new_mark)
    """Of this run alone, in the archive's name."""

    @property
    def folder(self) -> str:
        """The proxy's folder on the builder."""
        return Layout(self.root).modules

    @property
    def receipt(self) -> str:
        """A file there that lists the set, and says that all of it was there."""
        return join(self.folder, _RECEIPTS, f"{self.found.receipt}.txt")

    @property
    def listing(self) -> str:
        """Content of the receipt: a line ``<bytes> <name>`` for each file, as `Shell.check_files` wants it.

        Windows' cmd.exe sees no file with a longer name than `_LONGEST` and would call it missing for ever.
        """
        own, most = separator(self.root), _LONGEST - len(self.folder) if os_of(self.root) == "windows" else 1 << 20
        return "".join(f"{one.size} {one.name.replace('/', own)}\n" for one in self.found.files if len(one.name) < most)


class ModuleResend:
    """Sends a set anew, once, however many builds find at the same time that it is damaged on their builder.

    Args:
        work: gives what is sent; called when that is needed.
    """

    def __init__(self, work: Callable[[], Delivery]) -> None:
        self._work, self._lock = work, RLock()
        self._sent: bool | None = None

    def __call__(self, state: State, host: Host) -> bool:
        with self._lock:
            if self._sent is None:
                work = self._work()
                host.log(f"{work.label}: sending all of its modules again")
                self._sent = _bring(state, host, work, work.found.files)
            return self._sent


def deliver(state: State, host: Host, work: Delivery) -> bool:
    """Step: every file of the set is below the builder's ``cache/modproxy``."""
    if not work.found.files:
        return True
    shell = shell_of(work.root)
    listed = shell.unless_there(work.receipt, shell.if_there(work.folder, shell.list_files(work.folder)))
    checked = [shell.if_there(work.receipt, step) for step in _checked(shell, work)]
    answer = run_command(
        state, host, shell.script([*checked, listed, shell.say("@end")], always=True), timeout=_LOOK_TIMEOUT
    )
    lines = [line.strip() for line in answer.out]
    if "@end" not in lines:
        return fail(
            host, f"{work.label}: the builder cannot be asked which modules it has ({answer.last()}); run again"
        )
    missing = _missing(work, lines)
    if "@listed" not in lines:
        return _bring(state, host, work, missing)
    if not missing:
        host.log(f"{work.label}: {_modules(work.found.files, ('is', 'are'))} on the builder; nothing sent")
        return True
    host.log(f"{work.label}: {missing[0].name} is gone or damaged on the builder, of {len(missing)} files in all")
    return _bring(state, host, work, missing)


def _checked(shell: Shell, work: Delivery) -> list[str]:
    return [shell.say("@listed"), shell.check_files(work.receipt, work.folder)]


def _missing(work: Delivery, lines: Sequence[str]) -> list[ModuleFile]:
    """What the builder lacks, by its answer: its own comparison with the receipt, or all that it has."""
    if "@listed" in lines:
        gone = {line.removeprefix("@missing ").replace("\\", "/") for line in lines if line.startswith("@missing ")}
        return [file for file in work.found.files if file.name in gone]
    there = read_listing(lines, work.folder)
    return [file for file in work.found.files if there.get(file.name) != file.size]


def read_listing(lines: Iterable[str], folder: str) -> dict[str, int]:
    """The answer to `Shell.list_files`: name below ``folder``, with ``/``, to bytes."""
    found = {}
    start = folder + separator(folder)
    for line in lines:
        size, _, path = line.partition(" ")
        if size.isdigit() and path.lower().startswith(start.lower()):
            found[path[len(start) :].replace(separator(folder), "/")] = int(size)
    return found


def _bring(state: State, host: Host, work: Delivery, missing: Sequence[ModuleFile]) -> bool:
    began = time.monotonic()
    size = sum(file.size for file in missing)
    if not _fits(state, host, work, missing, size):
        return False
    shell, layout = shell_of(work.root), Layout(work.root)
    remote = join(layout.tmp, f"modules-{work.mark}.tar")
    local = work.scratch / f"modules-{work.mark}.tar"
    steps = [shell.make(join(work.folder, _RECEIPTS))]
    if missing:
        host.log(f"{work.label}: sending {_modules(missing)} of {_modules(work.found.files)}, {size_text(size)}")
        try:
            work.scratch.mkdir(parents=True, exist_ok=True)
            pack(missing, local)
            trouble = send(state, host, local, remote)
        except OSError as error:
            trouble = f"{error.filename or local}: {error.strerror}"
        finally:
            local.unlink(missing_ok=True)
        if trouble:
            return fail(host, f"{work.label}: {remote}: {trouble}")
        steps += [shell.or_end(shell.unpack(remote, work.folder), "unpack"), shell.delete(remote)]
    steps.append(shell.say("@done"))
    forget(host)
    answer = run_command(state, host, shell.script(steps), timeout=_UNPACK_TIMEOUT)
    if "@done" not in (line.strip() for line in answer.out):
        run_command(state, host, shell.delete(remote))
        return fail(
            host,
            f"{work.label}: the modules cannot be unpacked into {work.folder}: {answer.first()}; see whether its disk "
            "is full and whether the login may write there, then run again",
        )
    if trouble := _sign(state, host, work):
        return fail(host, f"{work.label}: {work.receipt}: {trouble}")
    kept = size_text(work.found.size - size)
    host.log(
        f"{work.label}: {len(missing)} of {len(work.found.files)} module files sent ({size_text(size)}) "
        f"in {time.monotonic() - began:.1f} s; {kept} were there"
    )
    return True


def _sign(state: State, host: Host, work: Delivery) -> str | None:
    """Write the receipt, last of all; one line when that fails."""
    local = work.scratch / f"receipt-{work.mark}.txt"
    try:
        work.scratch.mkdir(parents=True, exist_ok=True)
        local.write_bytes(work.listing.encode())
        return send(state, host, local, work.receipt)
    except OSError as error:
        return f"{local}: {error.strerror}"
    finally:
        local.unlink(missing_ok=True)


def _fits(state: State, host: Host, work: Delivery, missing: Sequence[ModuleFile], size: int) -> bool:
    """Nothing is sent that is damaged, or that the builder has no room for."""
    damaged = next((file for file in missing if not check(file)), None)
    if damaged is not None:
        return fail(
            host,
            f"{work.label}: {damaged.path} in the controller's cache is not what go.sum names (damaged on the disk); "
            "removed it: run the same command again",
        )
    try:
        free = builder_state(host, work.root).free_bytes
    except PyinfraError as error:
        return fail(host, str(error))
    if free is None or free >= size * _ROOM:
        return True
    return fail(
        host,
        f"{work.label}: modules of {size_text(size)} need {size_text(size * _ROOM)} in all, {work.root} has "
        f"{size_text(free)} free; make room there",
    )


def pack(files: Iterable[ModuleFile], target: Path) -> None:
    """A tar archive of the files under their names; equal files give equal bytes.

    Raises:
        OSError: a file cannot be read, or the archive not be written.
    """
    # pax: module paths may be longer than the 100 bytes of older forms; Windows' tar.exe reads it.
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for file in sorted(files, key=lambda one: one.name):
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mode = file.size, 0o644
            with file.path.open("rb") as content:
                archive.addfile(entry, content)


def _modules(files: Sequence[ModuleFile], verb: tuple[str, str] = ("", "")) -> str:
    count = sum(file.name.endswith(".zip") for file in files)
    return f"{count} module{'' if count == 1 else 's'} {verb[count != 1]}".rstrip()
