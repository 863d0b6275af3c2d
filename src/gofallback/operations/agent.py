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
from gofallback.connectors.local import TransferError
from gofallback.facts.builder import builder_state, forget
from gofallback.gobuild.plan import AGENT
from gofallback.operations.remote import fail, run_command, send_content
from gofallback.operations.stale_files import new_mark


def deliver_agent(state: State, host: Host, files: Mapping[str, bytes], digest: str, root: str, scratch: Path) -> bool:
    r"""Step: the sources of gofallback's own agent are in ``work\gofallback-agent\<digest>``.

    Args:
        state: pyinfra's.
        host: the builder.
        files: see `gofallback.gobuild.agent_source.agent_files`.
        digest: see `gofallback.gobuild.agent_source.agent_digest`.
        root: the builder's root.
        scratch: folder on the controller for the archive, which is removed afterwards.
    """
    final = Layout(root).work(AGENT, digest)
    if digest in _delivered(host, root):
        return True
    forget(host)
    temporary = join(Layout(root).tmp, f"{AGENT}-{digest[:12]}-{new_mark()}")
    try:
        send_content(state, host, pack(files), scratch / f"{name(temporary)}.tar", f"{temporary}.tar")
    except TransferError as error:
        return fail(host, f"{AGENT}: {temporary}.tar: {error}")
    sh = shell_of(root)
    steps = [
        sh.make(temporary),
        sh.or_exit(sh.unpack(f"{temporary}.tar", temporary), "tar"),
        sh.claim(temporary, final),
        sh.remove(temporary),
        sh.delete(f"{temporary}.tar"),
        sh.if_there(join(final, "go.mod"), sh.echo("@done")),
    ]
    result = run_command(state, host, sh.script(steps))
    if result.has("@done"):
        return True
    return fail(host, f"{AGENT}: its sources cannot be unpacked into {final}: {result.last()}; run again")


def _delivered(host: Host, root: str) -> tuple[str, ...]:
    """Digests of the agent's sources that a builder has; none when its state cannot be read."""
    try:
        return builder_state(host, root).checkouts.get(AGENT, ())
    except PyinfraError:
        return ()


def pack(files: Mapping[str, bytes]) -> bytes:
    """The files as a tar archive, which the builder's own tar reads; equal files give equal bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
