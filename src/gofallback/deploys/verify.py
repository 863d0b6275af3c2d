"""Verify: on the controller, before any target changes. The builder's word counts for nothing here."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.artifact.binary import BinaryInfo, inspect
from gofallback.artifact.compat import Compatibility, TargetFacts, compat_table, compatibility
from gofallback.artifact.verify import problems
from gofallback.build.result import Built
from gofallback.deploys import _build_plan as plan
from gofallback.deploys._site import Site
from gofallback.deploys._stage import stage
from gofallback.deploys._wanted import AGENT, state_of
from gofallback.errors import GofallbackError
from gofallback.operations.talk import TROUBLE
from gofallback.report import screen


@stage("verify", "builders")
def verify(here: Site, host: Host) -> None:
    """Fetch what was built, check it, keep it in the store."""
    if host is here.builder:
        artifacts(name="artifacts", here=here)


@operation()
def artifacts(here: Site) -> Generator[FunctionCommand, None, None]:
    """Every binary of this run, fetched, checked and stored.

    + here: the run and its hosts
    """
    if plan.missing(here):
        yield FunctionCommand(_artifacts, (here,), {})
    else:
        here.host.noop("every artifact was verified when it was stored")


def _artifacts(state: State, host: Host, here: Site) -> bool:
    built: list[Built] = here.memo.get("built", [])
    with tempfile.TemporaryDirectory(prefix="gofallback-") as folder:
        for number, one in enumerate(built):
            problem = _keep(state, host, here, one, Path(folder) / f"{number}")
            if problem is not None:
                host.log_styled(f"{one.manifest.spec.service} {one.manifest.platform}: {problem}", fg="red")
                return False
    return _compatible(host, here)


def _keep(state: State, host: Host, here: Site, built: Built, local: Path) -> str | None:
    """Fetch one binary, check it, store it; the problem in one line, or None."""
    manifest = built.manifest
    try:
        if not host.get_file(built.path, str(local), print_output=False, print_input=False):
            return f"cannot be fetched from {host.name} (see above); run the same command again"
        with local.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found = problems(inspect(local), manifest.spec, sha256=digest, size=local.stat().st_size)
        if digest != manifest.sha256:
            found.insert(0, f"changed on the way: sha256 {manifest.sha256} on {host.name}, {digest} here; run again")
        if found:
            return "; ".join(found)
        here.run.artifacts[manifest.key] = here.run.store.add(manifest, local)
        if not built.reused:
            here.run.built.add(manifest.key)
    except (GofallbackError, *TROUBLE) as error:
        return str(error)
    size = local.stat().st_size / 1e6
    host.log(f"{manifest.spec.service} {manifest.platform}: verified, {size:.1f} MB, sha256 {manifest.sha256[:16]}")
    return None


def _compatible(host: Host, here: Site) -> bool:
    """Does each binary run on the targets that get it? A table, and a refusal with the reason."""
    judged = list(_judge(here))
    if judged:
        screen.console(None).print(compat_table(judged))
    bad = [verdict.reason for _, verdict in judged if not verdict.ok]
    for reason in bad:
        host.log_styled(f"will not run there: {reason}", fg="red")
    if bad:
        here.run.artifacts.clear()  # no target may be given one
    return not bad


def _judge(here: Site) -> Iterator[tuple[str, Compatibility]]:
    infos: dict[str, BinaryInfo] = {}
    for host in here.active(here.targets):
        state = state_of(here, host)
        facts = TargetFacts(
            name=host.name,
            goarch=state.platform.split("/")[1],
            kernel=state.kernel,
            libc=state.libc,
            libc_version=state.libc_version,
        )
        for service in [*(service.name for service in here.services(host)), AGENT]:
            stored = here.run.artifact(service, state.platform)
            if stored is None:
                continue
            info = infos.setdefault(stored.manifest.key, inspect(stored.path))
            yield f"{host.name} {service}", compatibility(info, facts)
