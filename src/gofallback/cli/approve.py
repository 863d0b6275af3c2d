"""``gofallback approve``: one person's signed statement that a version may go to an environment."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from gofallback.approval.digest import ApprovalError, Release, release_of
from gofallback.approval.sign import choose_key, sign, write_approval
from gofallback.approval.statement import LONGEST_REASON, Statement, path_part, time_text
from gofallback.approval.tally import ApprovalPolicy
from gofallback.cli.command import add_command, add_version, artifact_store, facts, newest_versions
from gofallback.controller.store import ArtifactStore
from gofallback.gobuild.plan import AGENT
from gofallback.model.approval import Approval
from gofallback.redact import redact
from gofallback.report.screen import console

if TYPE_CHECKING:
    from gofallback.cli.command import Commands

_RULES = Approval()


def register(commands: Commands) -> None:
    """Add the command."""
    approve = add_command(
        commands,
        "approve",
        _approve,
        "sign that a version may be rolled out to an environment",
        "Shows the release, asks for a yes, signs with your SSH key, and writes the approval into the project, to be "
        "committed. Run it in the project's folder. See docs/approvals.md.",
    )
    add_version(approve)
    approve.add_argument("--environment", required=True, metavar="NAME", help="`environment` of the group data")
    approve.add_argument("--key", type=Path, metavar="FILE", help="default: yours in allowed_signers (agent, ~/.ssh)")
    approve.add_argument("--as", dest="principal", metavar="PRINCIPAL", help="default: the key's in allowed_signers")
    approve.add_argument("--valid", type=_hours, default=_RULES.validity, metavar="HOURS", help="default: %(default)s")
    approve.add_argument("--reason", default="", metavar="TEXT", help="kept in the approval, the journal, the report")
    approve.add_argument("--signers", default=_RULES.signers, metavar="FILE", help="default: %(default)s")
    approve.add_argument("--folder", default=_RULES.folder, metavar="DIR", help="default: %(default)s")
    approve.add_argument("--yes", action="store_true", help="approve without a question")


def _hours(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 8760:
        raise argparse.ArgumentTypeError(f"should be hours from 1 to 8760, got {text!r}")
    return int(text)


def _approve(given: argparse.Namespace) -> int:
    path_part("environment", given.environment)
    if len(given.reason) > LONGEST_REASON or not given.reason.isprintable():
        raise ApprovalError(f"--reason: should be one line of at most {LONGEST_REASON} characters")
    policy = ApprovalPolicy(Path.cwd(), given.environment, Approval(signers=given.signers, folder=given.folder))
    release = _release(artifact_store(), given.service, given.version)
    now = datetime.now(UTC)
    key, principal = choose_key(policy.keygen, policy.signers(), given.key, given.principal, now)
    statement = Statement(
        environment=given.environment,
        service=release.service,
        version=release.version,
        commit=release.commit,
        platforms=list(release.platforms),
        digest=release.digest,
        principal=principal,
        at=time_text(now),
        expires=time_text(now + timedelta(hours=given.valid)),
        reason=redact(given.reason),
    )
    console().print(_details(statement, release, key.fingerprint))
    if not given.yes and not _confirmed():
        print("not approved, nothing was written")
        return 1
    signature = sign(policy.keygen, key, statement)
    _require_valid(policy, statement, signature)
    folder = policy.folder(release.service, release.version)
    for file in write_approval(policy.project / folder, statement, signature):
        print(f"wrote {file.relative_to(policy.project)}")
    print(f"share them: git add {folder} && git commit -m 'Approve {release.service} {release.version}' && git push")
    return 0


def _release(store: ArtifactStore, service: str | None, version: str) -> Release:
    """The release of this version in the store."""
    services = [name for name in store.services() if name != AGENT]
    if service is not None and service not in services:
        known = ", ".join(services) or "none"
        raise ApprovalError(f"--service {service}: the artifact store has none; it has: {known}")
    matching = [name for name in services if service in (None, name) and version in store.versions(name)]
    if not matching:
        raise ApprovalError(
            f"{version}: not in the artifact store ({newest_versions(store, services)}); build it with "
            f"deploys/drill.py --data ref={version}, or see `Several controllers` in docs/approvals.md"
        )
    if len(matching) > 1:
        raise ApprovalError(f"{version}: {', '.join(matching)} have it; name one with --service")
    return release_of(matching[0], version, [one.manifest for one in store.by_version(matching[0], version)])


def _details(statement: Statement, release: Release, key: str) -> Table:
    rows = [
        ("approve", f"{statement.service} {statement.version} for {statement.environment}"),
        ("commit", statement.commit),
        *((platform, f"sha256 {sha256}") for platform, _, sha256 in release.artifacts),
        ("digest", statement.digest),
        ("expires", statement.expires),
        ("as", f"{statement.principal}, {key}"),
        *([("reason", statement.reason)] if statement.reason else []),
    ]
    return facts(rows)


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise ApprovalError(
            "standard input is no terminal, so nobody can confirm; use --yes to approve without a question"
        )
    try:
        return input("Approve this release? Type yes: ").strip().lower() == "yes"
    except (EOFError, KeyboardInterrupt):
        print()
        return False


def _require_valid(policy: ApprovalPolicy, statement: Statement, signature: bytes) -> None:
    """Verify the signature as the rollout will."""
    with tempfile.NamedTemporaryFile(prefix="gofallback-", suffix=".sig") as file:
        file.write(signature)
        file.flush()
        verified = policy.keygen.verify(policy.signers_file, statement.principal, statement.text(), Path(file.name))
    if verified.key is None:
        raise ApprovalError(f"the signature would not count: {verified.reason}; nothing was written")
