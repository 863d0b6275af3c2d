"""``gofallback approve``: one person's signed word that a version may go to an environment."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from gofallback.approval.digest import ApprovalError, Release, release_of
from gofallback.approval.sign import choose, put, sign
from gofallback.approval.statement import LONGEST_REASON, Statement, path_part, written
from gofallback.approval.tally import ApprovalPolicy
from gofallback.controller.paths import Home
from gofallback.controller.store import ArtifactStore
from gofallback.model.approval import Approval
from gofallback.redact import redact
from gofallback.report.screen import console

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

AGENT = "gofallback-agent"
_RULES = Approval()


def register(commands: Commands) -> None:
    """Add the command."""
    approve = commands.add_parser(
        "approve",
        help="sign that a version may be rolled out to an environment",
        description="Shows what would be approved, asks, signs with your SSH key, and writes the approval into the "
        "project, to be committed. Run it in the project's folder. See docs/approvals.md.",
    )
    approve.add_argument("version", metavar="VERSION", help="a version of the artifact store, such as v1.2.3")
    approve.add_argument("--environment", required=True, metavar="NAME", help="`environment` of the group data")
    approve.add_argument("--service", metavar="NAME", help="default: the only one that has this version")
    approve.add_argument("--key", type=Path, metavar="FILE", help="default: yours in allowed_signers (agent, ~/.ssh)")
    approve.add_argument("--as", dest="principal", metavar="PRINCIPAL", help="default: the key's in allowed_signers")
    approve.add_argument("--valid", type=_hours, default=_RULES.validity, metavar="HOURS", help="default: %(default)s")
    approve.add_argument("--reason", default="", metavar="TEXT", help="kept in the approval, the journal, the report")
    approve.add_argument("--signers", default=_RULES.signers, metavar="FILE", help="default: %(default)s")
    approve.add_argument("--folder", default=_RULES.folder, metavar="DIR", help="default: %(default)s")
    approve.add_argument("--yes", action="store_true", help="do not ask")
    approve.set_defaults(run=_approve)


def _hours(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 8760:
        raise argparse.ArgumentTypeError(f"should be hours from 1 to 8760, got {text!r}")
    return int(text)


def _approve(given: argparse.Namespace) -> int:
    path_part("environment", given.environment)
    if len(given.reason) > LONGEST_REASON or not given.reason.isprintable():
        raise ApprovalError(f"--reason: should be one line of at most {LONGEST_REASON} characters")
    desk = ApprovalPolicy(Path.cwd(), given.environment, Approval(signers=given.signers, folder=given.folder))
    release = _release(ArtifactStore(Home.default().artifacts, say=_complain), given.service, given.version)
    now = datetime.now(UTC)
    key, principal = choose(desk.keygen, desk.signers(), given.key, given.principal, now)
    statement = Statement(
        environment=given.environment,
        service=release.service,
        version=release.version,
        commit=release.commit,
        platforms=list(release.platforms),
        digest=release.digest,
        principal=principal,
        at=written(now),
        expires=written(now + timedelta(hours=given.valid)),
        reason=redact(given.reason),
    )
    console().print(_shown(statement, release, key.fingerprint))
    if not given.yes and not _agreed():
        print("not approved, nothing was written")
        return 1
    signature = sign(desk.keygen, key, statement)
    _counts(desk, statement, signature)
    folder = desk.folder(release.service, release.version)
    for file in put(desk.project / folder, statement, signature):
        print(f"wrote {file.relative_to(desk.project)}")
    print(f"share them: git add {folder} && git commit -m 'Approve {release.service} {release.version}' && git push")
    return 0


def _complain(line: str) -> None:
    print(line, file=sys.stderr)


def _release(store: ArtifactStore, service: str | None, version: str) -> Release:
    """The release that the store has by this version."""
    having = sorted(
        entry.name
        for entry in (store.root.iterdir() if store.root.is_dir() else [])
        if entry.is_dir() and not entry.name.startswith(".") and entry.name != AGENT
    )
    if service is not None and service not in having:
        raise ApprovalError(f"--service {service}: the artifact store has none; it has: {', '.join(having) or 'none'}")
    found = [name for name in having if service in (None, name) and version in store.versions(name)]
    if not found:
        newest = "; ".join(f"{name}: {', '.join(store.versions(name)[:5])}" for name in having) or "nothing"
        raise ApprovalError(
            f"{version}: not in the artifact store ({newest}); build it with deploys/drill.py --data ref={version}, "
            "or see `Several controllers` in docs/approvals.md"
        )
    if len(found) > 1:
        raise ApprovalError(f"{version}: {', '.join(found)} have it; say which with --service")
    return release_of(found[0], version, [one.manifest for one in store.by_version(found[0], version)])


def _shown(statement: Statement, release: Release, key: str) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows = [
        ("approve", f"{statement.service} {statement.version} for {statement.environment}"),
        ("commit", statement.commit),
        *((f"{platform}", f"sha256 {sha256}") for platform, _, sha256 in release.artifacts),
        ("digest", statement.digest),
        ("expires", statement.expires),
        ("as", f"{statement.principal}, {key}"),
        *([("reason", statement.reason)] if statement.reason else []),
    ]
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise ApprovalError("nobody to ask (standard input is no terminal); use --yes to approve without being asked")
    try:
        return input("Approve this release? Type yes: ").strip().lower() == "yes"
    except (EOFError, KeyboardInterrupt):
        print()
        return False


def _counts(desk: ApprovalPolicy, statement: Statement, signature: bytes) -> None:
    """Look at the signature as the rollout will."""
    with tempfile.NamedTemporaryFile(prefix="gofallback-", suffix=".sig") as file:
        file.write(signature)
        file.flush()
        answer = desk.keygen.verify(desk.signers_file, statement.principal, statement.text(), Path(file.name))
    if answer.key is None:
        raise ApprovalError(f"the signature would not count: {answer.why}; nothing was written")
