"""The modules of a commit on their way to a builder: asked once what is there, and each byte sent once.

They become files below ``cache/modproxy``, which go on the builder reads as a proxy (GOPROXY=file://). A receipt named
after names and sizes of all files says that a set is complete; go verifies the bytes with go.sum when it takes them.
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.builder.paths import Layout, join, separator
from gofallback.builder.shell import shell_of
from gofallback.controller.modules import ModuleFile, ModuleSet, check
from gofallback.facts.builder import builder_state, forget
from gofallback.operations.talk import ask, fail, send
from gofallback.report.style import size_text

_UNPACK_TIMEOUT = 900.0
_ROOM = 4
"""Times its size that a module takes there: the archive, the proxy's file, go's copy of it, go's unpacked one."""
_RECEIPTS = "receipts"


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

    @property
    def folder(self) -> str:
        """The proxy's folder on the builder."""
        return Layout(self.root).modules

    @property
    def receipt(self) -> str:
        """A file there that says: this set is complete."""
        return join(self.folder, _RECEIPTS, self.found.receipt)


@operation()
def modules(label: str, found: ModuleSet, root: str, scratch: str) -> Generator[FunctionCommand, None, None]:
    """
    Make sure a builder has all files of a set of modules.

    + label: beginning of every line about it
    + found: the files, in the controller's cache
    + root: the builder's root folder
    + scratch: folder on the controller for the archive
    """
    yield FunctionCommand(deliver, (Delivery(label, found, root, Path(scratch)),), {})


def deliver(state: State, host: Host, work: Delivery) -> bool:
    """Step: every file of the set is below the builder's ``cache/modproxy``."""
    if not work.found.files:
        return True
    shell = shell_of(work.root)
    listed = shell.unless_there(work.receipt, shell.if_there(work.folder, shell.list_files(work.folder)))
    question = [shell.if_there(work.receipt, shell.say("@complete")), listed, shell.say("@end")]
    answer = ask(state, host, shell.script(question, always=True))
    lines = [line.strip() for line in answer.out]
    if "@end" not in lines:
        return fail(
            host, f"{work.label}: the builder cannot be asked which modules it has ({answer.last()}); run again"
        )
    if "@complete" in lines:
        host.log(f"{work.label}: {_modules(work.found.files, ('is', 'are'))} on the builder; nothing sent")
        return True
    there = read_listing(lines, work.folder)
    missing = [file for file in work.found.files if there.get(file.name) != file.size]
    return _bring(state, host, work, missing)


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
    remote = join(layout.tmp, f"modules-{work.found.receipt}.tar")
    local = work.scratch / f"modules-{work.found.receipt}.tar"
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
    steps += [shell.or_end(shell.write(work.receipt, "complete"), "receipt"), shell.say("@done")]
    forget(host)
    answer = ask(state, host, shell.script(steps), timeout=_UNPACK_TIMEOUT)
    if "@done" not in (line.strip() for line in answer.out):
        ask(state, host, shell.delete(remote))
        return fail(
            host,
            f"{work.label}: the modules cannot be unpacked into {work.folder}: {answer.first()}; see whether its disk "
            "is full and whether the login may write there, then run again",
        )
    kept = size_text(work.found.size - size)
    host.log(
        f"{work.label}: {len(missing)} of {len(work.found.files)} module files sent ({size_text(size)}) "
        f"in {time.monotonic() - began:.1f} s; {kept} were there"
    )
    return True


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
