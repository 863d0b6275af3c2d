"""Operations on Windows hosts: folders and files. Each one checks its effect, whatever exit status it was told."""

from __future__ import annotations

from collections.abc import Collection, Generator
from pathlib import Path

from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from gofallback.builder.cmd import Cmd, certutil
from gofallback.builder.paths import join
from gofallback.controller.downloads import sha256_of
from gofallback.facts.builder import forget
from gofallback.facts.windows import Children, Directory, Exists, FileSha256, read_hash
from gofallback.operations.builder import make_folders, refuse_outside, remove
from gofallback.operations.remote import fail, run_command, send

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
    found = read_hash(list(run_command(state, host, certutil(dest), timeout=600).out))
    if found != wanted:
        run_command(state, host, Cmd().delete(dest))
        return fail(host, f"{dest}: sha256 is {found or 'not to be had'}, sent was {wanted}; removed it, run again")
    return True


@operation()
def absent(path: str, root: str) -> Steps:
    """
    Make sure a file or folder is gone, with everything in it.

    + path: absolute path; has to be below ``root``
    + root: the builder's root folder, outside of which nothing is ever removed
    """
    refuse_outside(path, root)
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
    refuse_outside(folder, root)
    kept = {name.lower() for name in keep}
    extra = [name for name in host.get_fact(Children, path=folder) if name.lower() not in kept]
    if not extra:
        host.noop(f"{folder} has nothing to remove")
        return
    yield FunctionCommand(remove, ([join(folder, name) for name in extra], root), {})
