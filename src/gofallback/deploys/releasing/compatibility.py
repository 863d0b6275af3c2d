"""Whether each binary runs on the targets that get it. Checked before any target changes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from pyinfra.api.host import Host

from gofallback.artifact.binary import BinaryInfo, inspect
from gofallback.artifact.compat import Compatibility, TargetFacts, compat_table, compatibility
from gofallback.controller.store import Stored
from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import RefusedError
from gofallback.gobuild.plan import AGENT
from gofallback.report import screen

_INFO: Key[BinaryInfo] = Key("binary info")


def incompatibilities(ctx: RunContext) -> list[str]:
    """Why binaries of this run would not run on their targets; prints the table of all of them."""
    verdicts = list(_check(ctx, ctx.targets))
    if verdicts:
        screen.console(sys.stderr).print(compat_table(verdicts))
    return [verdict.reason for _, verdict in verdicts if not verdict.ok]


def refuse_incompatible(ctx: RunContext, hosts: Iterable[Host]) -> None:
    """Refuse artifacts that exist already and would not run on these hosts, while planning.

    Raises:
        RefusedError: a stored artifact would not run on a target.
    """
    bad = [verdict.reason for _, verdict in _check(ctx, hosts) if not verdict.ok]
    if bad:
        raise RefusedError(f"will not run there: {'; '.join(bad)}; nothing was changed")


def _check(ctx: RunContext, hosts: Iterable[Host]) -> Iterator[tuple[str, Compatibility]]:
    """The verdict on every artifact of the run for each of these targets that gets it. A binary is read once."""
    for host in ctx.active(hosts):
        state = state_of(ctx, host)
        facts = TargetFacts(
            name=host.name,
            goarch=state.platform.split("/")[1],
            kernel=state.kernel,
            libc=state.libc,
            libc_version=state.libc_version,
        )
        for service in [*(service.name for service in ctx.services(host)), AGENT]:
            for number, stored in enumerate(ctx.run.artifacts_of(service, state.platform)):
                what = f"{service} {stored.manifest.spec.binary}" if number else service
                yield f"{host.name} {what}", _verdict(ctx, host, stored, facts)


def _verdict(ctx: RunContext, host: Host, stored: Stored, facts: TargetFacts) -> Compatibility:
    key, spec = stored.manifest.key, stored.manifest.spec
    info = ctx.once(_INFO(key), lambda: inspect(stored.path))
    verdict = compatibility(info, facts, spec.cgo.compiler if spec.cgo else "zig")
    for row in verdict.rows:
        if row.what == "libc" and not info.static:
            ctx.run.libc.setdefault(key, {})[host.name] = (row.needs, row.has)
    return verdict
