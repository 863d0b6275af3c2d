"""Brings the modules of a commit to a builder: one question what is there, and each missing byte once.

They become files below ``cache/modproxy``, which go on the builder reads as a proxy (GOPROXY=file://). A receipt lists
names and sizes of all files of a set, and the builder compares them with its files: one question, one short answer.
go verifies the bytes with go.sum when it reads them.
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
from gofallback.builder.shell import shell_of
from gofallback.connectors.local import TransferError
from gofallback.facts.builder import builder_state, forget
from gofallback.gomod.download import ModuleFile, ModuleSet, verify
from gofallback.operations.remote import fail, run_command, send, send_content
from gofallback.operations.stale_files import new_mark
from gofallback.report.style import size_text

_UNPACK_TIMEOUT = 900.0
_CHECK_TIMEOUT = 300.0
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
    modules: ModuleSet
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
        """A file there that lists the set; it exists once all of the set was there."""
        return join(self.folder, _RECEIPTS, f"{self.modules.receipt}.txt")

    @property
    def listing(self) -> str:
        """Content of the receipt: a line ``<bytes> <name>`` for each file, as `Shell.check_files` reads it.

        Windows' cmd.exe sees no file with a longer name than `_LONGEST` and would always call it missing.
        """
        own, most = separator(self.root), _LONGEST - len(self.folder) if os_of(self.root) == "windows" else 1 << 20
        files = [file for file in self.modules.files if len(file.name) < most]
        return "".join(f"{file.size} {file.name.replace('/', own)}\n" for file in files)


class ModuleResend:
    """Sends all files of a set again, once, however many builds find at the same time that it is damaged.

    Args:
        delivery: gives what is sent; called when it is needed.
    """

    def __init__(self, delivery: Callable[[], Delivery]) -> None:
        self._delivery, self._lock = delivery, RLock()
        self._sent: bool | None = None

    def __call__(self, state: State, host: Host) -> bool:
        with self._lock:
            if self._sent is None:
                work = self._delivery()
                host.log(f"{work.label}: sending all of its modules again")
                self._sent = _bring(state, host, work, work.modules.files)
            return self._sent


def deliver(state: State, host: Host, work: Delivery) -> bool:
    """Step: every file of the set is below the builder's ``cache/modproxy``."""
    if not work.modules.files:
        return True
    shell = shell_of(work.root)
    steps = [
        shell.if_there(work.receipt, shell.echo("@listed")),
        shell.if_there(work.receipt, shell.check_files(work.receipt, work.folder)),
        shell.unless_there(work.receipt, shell.if_there(work.folder, shell.list_files(work.folder))),
        shell.echo("@end"),
    ]
    result = run_command(state, host, shell.script(steps, always=True), timeout=_CHECK_TIMEOUT)
    lines = [line.strip() for line in result.out]
    if "@end" not in lines:
        return fail(
            host, f"{work.label}: the builder cannot be asked which modules it has ({result.last()}); run again"
        )
    missing = _missing(work, lines)
    if "@listed" not in lines:
        return _bring(state, host, work, missing)
    if not missing:
        host.log(f"{work.label}: {_count(work.modules.files, ('is', 'are'))} on the builder; nothing sent")
        return True
    host.log(f"{work.label}: {missing[0].name} is gone or damaged on the builder, of {len(missing)} files in all")
    return _bring(state, host, work, missing)


def _missing(work: Delivery, lines: Sequence[str]) -> list[ModuleFile]:
    """The files that the builder lacks: by its own comparison with the receipt, or by the list of its files."""
    if "@listed" in lines:
        gone = {line.removeprefix("@missing ").replace("\\", "/") for line in lines if line.startswith("@missing ")}
        return [file for file in work.modules.files if file.name in gone]
    there = read_listing(lines, work.folder)
    return [file for file in work.modules.files if there.get(file.name) != file.size]


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
    if not _has_room(state, host, work, missing, size):
        return False
    shell = shell_of(work.root)
    archive = join(Layout(work.root).tmp, f"modules-{work.mark}.tar")
    steps = [shell.make(join(work.folder, _RECEIPTS))]
    if missing:
        host.log(f"{work.label}: sending {_count(missing)} of {_count(work.modules.files)}, {size_text(size)}")
        try:
            _send_archive(state, host, work, missing, archive)
        except TransferError as error:
            return fail(host, f"{work.label}: {archive}: {error}")
        steps += [shell.or_exit(shell.unpack(archive, work.folder), "unpack"), shell.delete(archive)]
    steps.append(shell.echo("@done"))
    forget(host)
    result = run_command(state, host, shell.script(steps), timeout=_UNPACK_TIMEOUT)
    if not result.has("@done"):
        run_command(state, host, shell.delete(archive))
        return fail(
            host,
            f"{work.label}: the modules cannot be unpacked into {work.folder}: {result.first()}; see whether its disk "
            "is full and whether the login may write there, then run again",
        )
    try:  # the receipt comes last of all
        receipt = work.scratch / f"receipt-{work.mark}.txt"
        send_content(state, host, work.listing.encode(), receipt, work.receipt)
    except TransferError as error:
        return fail(host, f"{work.label}: {work.receipt}: {error}")
    there = size_text(work.modules.size - size)
    host.log(
        f"{work.label}: {len(missing)} of {len(work.modules.files)} module files sent ({size_text(size)}) "
        f"in {time.monotonic() - began:.1f} s; {there} were there"
    )
    return True


def _send_archive(state: State, host: Host, work: Delivery, files: Sequence[ModuleFile], remote: str) -> None:
    local = work.scratch / f"modules-{work.mark}.tar"
    try:
        work.scratch.mkdir(parents=True, exist_ok=True)
        pack(files, local)
        send(state, host, local, remote)
    except OSError as error:
        raise TransferError(f"{error.filename or local}: {error.strerror}") from None
    finally:
        local.unlink(missing_ok=True)


def _has_room(state: State, host: Host, work: Delivery, missing: Sequence[ModuleFile], size: int) -> bool:
    """Refuse to send a damaged file, or more than the builder has room for."""
    damaged = next((file for file in missing if not verify(file)), None)
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
        for file in sorted(files, key=lambda file: file.name):
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mode = file.size, 0o644
            with file.path.open("rb") as content:
                archive.addfile(entry, content)


def _count(files: Sequence[ModuleFile], verb: tuple[str, str] = ("", "")) -> str:
    count = sum(file.name.endswith(".zip") for file in files)
    return f"{count} module{'' if count == 1 else 's'} {verb[count != 1]}".rstrip()
