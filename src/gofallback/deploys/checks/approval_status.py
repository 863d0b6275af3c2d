"""What `status` shows of freeze windows and approvals: the versions that may go out, and whose approval is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from gofallback.approval.digest import ApprovalError, release_of
from gofallback.approval.requester import Requester, find_requester
from gofallback.approval.tally import ApprovalPolicy, Tally
from gofallback.controller.store import StoreError
from gofallback.deploys.checks.approvals import active_freezes, approval_rules
from gofallback.deploys.run.context import RunContext
from gofallback.model.approval import Approval
from gofallback.report.fleet import ApprovalRow, FreezeRow, StatusRow

#: Versions of a service that are shown; older ones are history.
_MOST_VERSIONS = 3


def freeze_rows(ctx: RunContext) -> list[FreezeRow]:
    """The environments that are frozen now."""
    return [
        FreezeRow(environment=environment, name=on.name, until=on.until.isoformat() if on.until else None, text=str(on))
        for environment, on in active_freezes(ctx, datetime.now(UTC))
    ]


def approval_rows(ctx: RunContext, rows: Sequence[StatusRow]) -> list[ApprovalRow]:
    """The approvals of the newest versions that are not live everywhere, where approvals are required."""
    result = []
    for environment, rules, service in approval_rules(ctx):
        hosts = {host.name for host in ctx.targets if ctx.fleet(host).environment == environment}
        live = {row.version for row in rows if row.service == service.name and row.host in hosts}
        for version in _newer(ctx, service.name, live):
            result.append(_row(ctx, environment, rules, service.name, version))
    return result


def _newer(ctx: RunContext, service: str, live: set[str | None]) -> Iterator[str]:
    """Versions of the store that were built after the version that is live everywhere."""
    for version in ctx.run.store.versions(service)[:_MOST_VERSIONS]:
        if live == {version}:
            return
        yield version


def _row(ctx: RunContext, environment: str, rules: Approval, service: str, version: str) -> ApprovalRow:
    try:
        tally = _tally(ctx, environment, rules, service, version)
    except (ApprovalError, StoreError) as error:
        return ApprovalRow(
            environment=environment, service=service, version=version, required=rules.required, trouble=str(error)
        )
    return ApprovalRow(
        environment=environment,
        service=service,
        version=version,
        digest=tally.release.digest,
        required=tally.required,
        by=[one.principal for one in tally.accepted],
        expires=min((one.expires for one in tally.accepted), default=None),
        could_sign=list(tally.remaining_signers),
        refused=list(tally.rejected),
        text=tally.summary(),
    )


def _tally(ctx: RunContext, environment: str, rules: Approval, service: str, version: str) -> Tally:
    policy = ApprovalPolicy(ctx.project, environment, rules)
    # The person who looks at the status need not be the requester of the rollout, so only a given name counts.
    claimed = ctx.run.options.requester
    requester = find_requester(policy.signers(), claimed, (), ()) if claimed else Requester()
    stored = [found.manifest for found in ctx.run.store.by_version(service, version)]
    return policy.count(release_of(service, version, stored), requester, datetime.now(UTC))
