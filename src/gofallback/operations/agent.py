"""The sources of gofallback's own agent on a builder: a folder named after their content."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.builder.paths import Layout, join, name
from gofallback.builder.shell import shell_of
from gofallback.facts.builder import builder_state, forget
from gofallback.gobuild.plan import AGENT
from gofallback.operations.remote import fail, run_command, send
from gofallback.operations.stale_files import new_mark


def deliver_agent(state: State, host: Host, files: Mapping[str, bytes], digest: str, root: str, scratch: Path) -> bool:
    """Step: the sources of gofallback's own agent are in ``work\\gofallback-agent\\<digest>``.

    Args:
        state: pyinfra's.
        host: the builder.
        files: see `gofallback.build.agent_source.agent_files`.
        digest: see `gofallback.build.agent_source.agent_digest`.
        root: the builder's root.
        scratch: folder on the controller for the archive; it is removed again.
    """
    final = Layout(root).work(AGENT, digest)
    if digest in builder_state_checkouts(host, root):
        return True
    forget(host)
    temporary = join(Layout(root).tmp, f"{AGENT}-{digest[:12]}-{new_mark()}")
    local = scratch / f"{name(temporary)}.tar"
    trouble = send_sources(state, host, files, local, f"{temporary}.tar")
    if trouble:
        return fail(host, f"{AGENT}: {temporary}.tar: {trouble}")
    sh = shell_of(root)
    steps = [
        sh.make(temporary),
        sh.or_end(sh.unpack(f"{temporary}.tar", temporary), "tar"),
        sh.claim(temporary, final),
        sh.remove(temporary),
        sh.delete(f"{temporary}.tar"),
        sh.if_there(join(final, "go.mod"), sh.say("@done")),
    ]
    answer = run_command(state, host, sh.script(steps))
    if "@done" in (one.strip() for one in answer.out):
        return True
    return fail(host, f"{AGENT}: its sources cannot be unpacked into {final}: {answer.last()}; run again")


def builder_state_checkouts(host: Host, root: str) -> tuple[str, ...]:
    """Digests of the agent's sources that a builder has; none when it did not tell."""
    try:
        return builder_state(host, root).checkouts.get(AGENT, ())
    except PyinfraError:
        return ()


def send_sources(state: State, host: Host, files: Mapping[str, bytes], local: Path, remote: str) -> str | None:
    """Send sources as one tar, which is made on the controller for that time only.

    Args:
        state: pyinfra's.
        host: the builder.
        files: content by name.
        local: where the tar is made.
        remote: where it goes.

    Returns:
        One line that says why it is not there; None when it is.
    """
    try:
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes(pack(files))
        return send(state, host, local, remote)
    except OSError as error:
        return f"{local}: {error.strerror}"
    finally:
        local.unlink(missing_ok=True)


def pack(files: Mapping[str, bytes]) -> bytes:
    """The files as a tar archive, which the builder's own tar reads; equal files give equal bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
