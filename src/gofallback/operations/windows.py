"""Operations on Windows hosts: folders and files. Each one checks its effect, whatever exit status it was told."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Generator
from pathlib import Path

from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from gofallback.controller.downloads import sha256_of
from gofallback.facts.builder import builder_state, forget
from gofallback.facts.windows import Children, Directory, Exists, FileSha256, certutil, read_hash
from gofallback.operations.talk import ask, fail, send
from gofallback.windows.paths import Layout, inside, join, literal

Steps = Generator[FunctionCommand, None, None]


@operation()
def directory(path: str) -> Steps:
    """
    Make sure a folder is there, with the folders above it.

    + path: absolute path of the folder
    """
    if host.get_fact(Directory, path=path):
        host.noop(f"{path} is there")
        return
    yield FunctionCommand(make_folders, ([path],), {})


@operation()
def layout(root: str) -> Steps:
    """
    Make sure a builder has all its folders; costs no round trip when it has.

    + root: the builder's root folder
    """
    known = builder_state(host, root)
    wanted = Layout(root).folders()
    missing = [path for path in wanted if path[len(root) + 1 :].lower() not in known.folders]
    if not missing:
        host.noop(f"all folders are below {root}")
        return
    yield FunctionCommand(make_folders, (missing,), {})


@operation()
def ready(root: str, minimum_free_mb: int, tools: Collection[str]) -> Steps:
    """
    Refuse a builder that cannot build; costs no round trip.

    + root: the builder's root folder
    + minimum_free_mb: free space its drive has to have, in MB
    + tools: programs of System32 that provisioning needs
    """
    known = builder_state(host, root)
    problems = []
    missing = sorted(set(tools) - known.tools)
    if missing:
        problems.append(f"{', '.join(missing)} missing in System32: Windows 10 1803, Server 2019 or later is needed")
    if known.free_bytes is not None and known.free_bytes < minimum_free_mb * 1_000_000:
        free = known.free_bytes // 1_000_000
        problems.append(f"{root}: {free} MB free, builder.minimum_free_mb is {minimum_free_mb}; make room there")
    if not problems:
        host.noop(f"Windows {known.version}, {(known.free_bytes or 0) // 1_000_000} MB free")
        return
    yield FunctionCommand(refuse, (problems,), {})


def refuse(state: State, host: Host, problems: list[str]) -> bool:
    """Step: say why this host is not used."""
    for problem in problems:
        fail(host, problem)
    # The next attempt of this process has to look again.
    forget(host)
    return False


def make_folders(state: State, host: Host, paths: list[str]) -> bool:
    """Step: make folders, and look whether they are there."""
    forget(host)
    make = [f"(if not exist {_folder(path)} mkdir {literal(path)})" for path in paths]
    # Numbers, not paths: `echo` has no quotes that would guard a path's own & or brackets.
    look = [f"(if not exist {_folder(path)} echo @missing {index})" for index, path in enumerate(paths)]
    answer = ask(state, host, "& ".join([*make, *look, "exit 0"]))
    missing = [paths[int(line.split()[1])] for line in answer.out if line.startswith("@missing ")]
    if not answer.ok or missing:
        what = ", ".join(missing) or paths[0]
        return fail(host, f"{what} cannot be made: {_why(answer.err)}; the login needs write permission above it")
    return True


@operation()
def upload(src: str, dest: str, sha256: str | None = None) -> Steps:
    """
    Send a file; not when the host has it with the same SHA-256.

    + src: file on the controller
    + dest: absolute path on the host; its folder has to be there
    + sha256: what the file has to have; default: what ``src`` has
    """
    local = Path(src)
    if not local.is_file():
        raise OperationValueError(f"upload: {src}: no such file on the controller")
    wanted = sha256_of(local)
    if sha256 is not None and sha256 != wanted:
        raise OperationValueError(f"upload: {src} has sha256 {wanted}, but {sha256} was asked for; nothing was sent")
    if host.get_fact(FileSha256, path=dest) == wanted:
        host.noop(f"{dest} is there with sha256 {wanted[:12]}")
        return
    yield FunctionCommand(send_checked, (local, dest, wanted), {})


def send_checked(state: State, host: Host, local: Path, dest: str, wanted: str) -> bool:
    """Step: send a file and compare its SHA-256 there; a wrong one is removed again."""
    forget(host)
    trouble = send(state, host, local, dest)
    if trouble:
        return fail(host, f"{dest}: upload failed: {trouble}")
    if local.stat().st_size == 0:
        return True
    found = read_hash(list(ask(state, host, certutil(dest), timeout=600).out))
    if found != wanted:
        ask(state, host, f"del /f /q {literal(dest)}")
        return fail(host, f"{dest}: sha256 is {found or 'not to be had'}, sent was {wanted}; removed it, run again")
    return True


@operation()
def absent(path: str, root: str) -> Steps:
    """
    Make sure a file or folder is gone, with everything in it.

    + path: absolute path; has to be below ``root``
    + root: the builder's root folder, outside of which nothing is ever removed
    """
    _refuse_outside(path, root)
    if not host.get_fact(Exists, path=path):
        host.noop(f"{path} is not there")
        return
    yield FunctionCommand(remove, ([path], root), {})


@operation()
def prune(folder: str, keep: Collection[str], root: str) -> Steps:
    """
    Remove from a folder what is not in a list.

    + folder: absolute path; below ``root``
    + keep: names that stay, in any case
    + root: the builder's root folder
    """
    _refuse_outside(folder, root)
    kept = {name.lower() for name in keep}
    extra = [name for name in host.get_fact(Children, path=folder) if name.lower() not in kept]
    if not extra:
        host.noop(f"{folder} has nothing to remove")
        return
    yield FunctionCommand(remove, ([join(folder, name) for name in extra], root), {})


def remove(state: State, host: Host, paths: list[str], root: str) -> bool:
    """Step: remove files and folders below ``root``, and look whether they are gone.

    Each is renamed into ``tmp`` first: what cannot be removed to the end (a file in use) is at least not half there
    under its name.
    """
    for path in paths:
        _refuse_outside(path, root)
    forget(host)
    for path in paths:
        answer = ask(state, host, remove_line(path, root), timeout=600)
        if not answer.ok or "@there" in answer.out:
            return fail(host, f"{path} cannot be removed: {_why(answer.err)}; does a program on the host use it?")
    return True


def remove_line(path: str, root: str) -> str:
    """The command line that removes one path, and says ``@there`` when it did not work."""
    aside = join(Layout(root).tmp, f"removed-{secrets.token_hex(4)}")
    moved = f"(if exist {_folder(Layout(root).tmp)} move {literal(path)} {literal(aside)} >nul 2>nul)"
    gone = [f"(if exist {_folder(one)} rmdir /s /q {literal(one)})" for one in (aside, path)]
    files = [f"(if exist {literal(one)} del /f /q {literal(one)})" for one in (aside, path)]
    return "& ".join([moved, *gone, *files, f"(if exist {literal(path)} echo @there)", "exit 0"])


def _refuse_outside(path: str, root: str) -> None:
    if not inside(root, path):
        raise OperationValueError(f"{path} is not below {root}: gofallback removes nothing outside builder.root")


def _folder(path: str) -> str:
    # A trailing backslash is true for folders only.
    return literal(path + "\\")


def _why(lines: Collection[str]) -> str:
    return next((line.strip() for line in lines if line.strip()), "Windows gave no reason")
