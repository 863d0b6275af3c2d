"""Freeze windows and approvals, checked before any host is touched (docs/approvals.md)."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from gofallback.approval.digest import ApprovalError, Release, release_of
from gofallback.approval.keygen import has_uncommitted_changes, usable_keys
from gofallback.approval.requester import Requester, find_requester
from gofallback.approval.tally import ApprovalPolicy, Tally
from gofallback.deploys.building.specs import services_in_use, specs_for
from gofallback.deploys.releasing.stored import stored_of
from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import RefusedError
from gofallback.model import Service
from gofallback.model.approval import Approval
from gofallback.model.freeze import FreezeOnce, FreezeWeekly, Frozen, active
from gofallback.pyinfra_patches.flags import cli_parameters

#: Characters; a shorter reason explains nothing to a reader of the journal.
SHORTEST_REASON = 10

#: Rules that `--data` may not replace, and the audited way to set each aside.
_PROTECTED = {
    **dict.fromkeys(
        ("approval", "freeze", "environment"),
        "--data override_freeze and break_glass set them aside, and are audited",
    ),
    "trust": "--data twin=false with a reason sets trust.twin aside, and is audited",
    "vulnerabilities": "vulnerabilities.ignore there takes what was looked at, with a reason and a day",
}


_KEYS: Key[frozenset[str]] = Key("keys at hand")


def require_permission(ctx: RunContext) -> None:
    """Refuse a run that must not begin; record its approvals and overrides for journal and report.

    Approvals that count go to ``run.approvals``, rules that were set aside to ``run.overrides``. A ``--dry`` run prints
    what would be refused, and goes on: approvers look at its output.

    Raises:
        RefusedError: a freeze, or approvals that are missing; a line each.
    """
    options = ctx.run.options
    if not ctx.run.command.brings_release or options.abort:
        return
    _refuse_rule_overrides(ctx)
    glass = options.break_glass
    if glass is not None and len(glass.strip()) < SHORTEST_REASON:
        raise RefusedError(
            f"--data break_glass={glass}: should say why, in at least {SHORTEST_REASON} characters; "
            "it is kept in the journal and in the report"
        )
    problems = [*_freeze_problems(ctx), *_approval_problems(ctx)]
    if glass is not None and not ctx.run.overrides:
        ctx.run.note("break_glass was given, but nothing stood in the way")
    if not problems:
        return
    if cli_parameters().get("dry"):
        for line in problems:
            click.secho("    would be refused: " + line.replace("\n", "\n    "), fg="yellow", err=True)
        return
    raise RefusedError("\n".join(problems))


def _refuse_rule_overrides(ctx: RunContext) -> None:
    """The rules of an environment are changed in its group data, where changes are reviewed, not in a command."""
    given = ctx.state.inventory.get_override_data()
    rules = any(ctx.fleet(host).approval or ctx.fleet(host).freeze for host in ctx.targets)
    for key, way in _PROTECTED.items():
        if key in given and (rules or key != "environment"):
            raise RefusedError(
                f"--data {key}: refused; the rules of an environment are changed in its group data ({way})"
            )


def active_freezes(ctx: RunContext, now: datetime) -> Iterator[tuple[str, Frozen]]:
    """The environments of this run's targets that are frozen now."""
    every: dict[str, list[FreezeOnce | FreezeWeekly]] = {}
    for host in ctx.targets:
        known = every.setdefault(ctx.fleet(host).environment, [])
        known += [window for window in ctx.fleet(host).freeze if window not in known]
    for environment, windows in every.items():
        found = active(windows, now)
        if found is not None:
            yield environment, found


def _freeze_problems(ctx: RunContext) -> Iterator[str]:
    options, now = ctx.run.options, datetime.now(UTC)
    for environment, found in active_freezes(ctx, now):
        if options.override_freeze is not None or options.break_glass is not None:
            _record_override(
                ctx, "freeze", f"{environment}: {found}", options.override_freeze or options.break_glass or ""
            )
            continue
        yield (
            f"{environment} is frozen: {found}; wait, or go on with --data override_freeze='why' (audited). "
            "rollback.py, abort, drill.py and status.py are not held up"
        )
    if options.override_freeze is not None and not ctx.run.overrides:
        ctx.run.note("override_freeze was given, but no freeze is on")


def _approval_problems(ctx: RunContext) -> Iterator[str]:
    if ctx.run.options.resume:
        return  # the run was permitted when it began, and its releases are on the targets
    for environment, rules, service in approval_rules(ctx):
        glass = ctx.run.options.break_glass
        try:
            tally = _tally(ctx, environment, rules, service)
        except ApprovalError as error:
            if glass is None:
                yield f"{service.name} for {environment}: {error}"
            else:
                _record_override(ctx, "break-glass", f"{service.name} for {environment}: {error}", glass)
            continue
        _record_approvals(ctx, tally)
        if tally.enough:
            continue
        what = f"{tally.release.service} {tally.release.version} for {environment}"
        if glass is not None:
            _record_override(ctx, "break-glass", f"{what}: {tally.progress()}", glass)
            continue
        way = f"gofallback approve {tally.release.version} --environment {environment}"
        yield "\n".join(
            [f"{what}: {tally.summary()}; each of them: {way}", *(f"    {line}" for line in tally.rejected)]
        )


def approval_rules(ctx: RunContext) -> Iterator[tuple[str, Approval, Service]]:
    """Each service in each environment whose rules require approvals; of several rules all count."""
    seen: list[tuple[str, Approval, str]] = []
    for service in services_in_use(ctx):
        for host in ctx.targets:
            fleet = ctx.fleet(host)
            known = (fleet.environment, fleet.approval, service.name)
            if fleet.approval is None or known in seen or service.name not in {s.name for s in ctx.services(host)}:
                continue
            seen.append((fleet.environment, fleet.approval, service.name))
            yield fleet.environment, fleet.approval, service


def _tally(ctx: RunContext, environment: str, rules: Approval, service: Service) -> Tally:
    policy = ApprovalPolicy(ctx.project, environment, rules)
    release = _release_to_approve(ctx, service, environment, rules)
    requester = _requester(ctx, policy)
    ctx.run.note(f"requested by {requester}")
    if has_uncommitted_changes(policy.project, rules.signers):
        ctx.run.note(f"{rules.signers} has changes that are not committed")
    tally = policy.count(release, requester, datetime.now(UTC))
    if tally.enough:
        click.echo(f"    {service.name} {release.version} for {environment}: {tally.progress()}", err=True)
    return tally


def _release_to_approve(ctx: RunContext, service: Service, environment: str, rules: Approval) -> Release:
    """What this run ships, as one release.

    Raises:
        ApprovalError: it is not built yet, so it cannot be approved.
    """
    platforms = sorted({state_of(ctx, host).platform for host in ctx.targets_of(service.name)})
    if ctx.run.command.releases_from == "store":
        chosen = [stored.manifest.spec for one in platforms for stored in stored_of(ctx, service, one)]
    else:
        mains, extra = specs_for(ctx, service, platforms), ctx.run.extra_binaries[service.name]
        chosen = [spec for one in platforms for spec in (mains[one], *extra[one])]
    version = chosen[0].version
    keys = {(spec.platform, spec.binary): spec.key for spec in chosen}
    if ctx.run.command.needs_builder:
        missing = [spec for spec in chosen if ctx.run.store.find(service.name, spec.key) is None]
        unbuilt = list(dict.fromkeys(spec.platform for spec in missing))
        if unbuilt:
            raise ApprovalError(
                f"{version} is not built yet for {', '.join(unbuilt)}, and needs {rules.required} approvals: build it "
                f"with deploys/drill.py, have it approved (gofallback approve {version} --environment {environment}), "
                "then run this again; in an emergency --data break_glass='why'"
            )
    stored = [found.manifest for found in ctx.run.store.by_version(service.name, version)]
    return release_of(service.name, version, stored, keys)


def _requester(ctx: RunContext, policy: ApprovalPolicy) -> Requester:
    files = {Path(str(key)).expanduser() for host in ctx.state.inventory if (key := host.data.get("ssh_key"))}
    keys = ctx.once(_KEYS, lambda: usable_keys(files))
    users = {getpass.getuser(), os.environ.get("SUDO_USER", "")} - {""}
    return find_requester(policy.signers(), ctx.run.options.requester, keys, users)


def _record_approvals(ctx: RunContext, tally: Tally) -> None:
    for one in tally.accepted:
        row = {"principal": one.principal, "key": one.key, "at": one.at, "expires": one.expires, "file": one.file}
        about = {"service": tally.release.service, "version": tally.release.version, "digest": tally.release.digest}
        ctx.run.approvals.append({**row, **about, "environment": tally.environment, "why": one.reason})


def _record_override(ctx: RunContext, kind: str, what: str, why: str) -> None:
    """Record a rule that was set aside, and print it in red. Journals and report get it from the run."""
    ctx.run.overrides.append({"kind": kind, "what": what, "why": why})
    title = "GLASS BROKEN" if ctx.run.options.break_glass else "FREEZE OVERRIDDEN"
    rule = "freeze" if kind == "freeze" else "approvals"
    for line in (f"{title} by {ctx.run.who}", f"{rule} of {what}", f"why: {why}"):
        click.secho(f"  !!  {line}", fg="red", bold=True, err=True)
