"""Known vulnerabilities on the way to every target: what stands against a release is said before anything changes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime

from pyinfra.api.host import Host

from gofallback.artifact.binary import inspect
from gofallback.controller import govulncheck
from gofallback.controller.store import Stored
from gofallback.deploys._record import tell_scan
from gofallback.deploys._site import RefusedError, Site
from gofallback.errors import GofallbackError
from gofallback.model.vulnerabilities import Vulnerabilities
from gofallback.report import screen, vulnerabilities
from gofallback.report.rows import ScanRow, VulnerabilityRow
from gofallback.vulnerability.judge import Judged, judge, too_old
from gofallback.vulnerability.scan import Scan

_REMEDY = (
    "build with a version in which it is fixed, or look at it and put it on vulnerabilities.ignore with a reason and "
    "a day"
)
_NAMED = 5


def problem(here: Site, host: Host, stored: Iterable[Stored]) -> str | None:
    """What stands against giving these artifacts to a host; None: nothing, or the policy only warns (a note then).

    Each binary is looked at once a run; new findings are shown as a table, and kept for journal and report.
    """
    policy = here.fleet(host).vulnerabilities
    if policy is None or policy.policy == "off":
        return None
    with here.lock:  # a scan takes a moment, in which another target would begin the same one
        against = _against(here, policy, stored)
    if not against:
        return None
    if policy.policy == "block":
        return f"{'; '.join(against)} (vulnerabilities.policy is block): {_REMEDY}"
    for reason in against:
        here.run.note(f"not stopped, as vulnerabilities.policy is warn: {reason}")
    return None


def _against(here: Site, policy: Vulnerabilities, stored: Iterable[Stored]) -> list[str]:
    known: dict[tuple[str, str], tuple[ScanRow, str | None]] = here.memo.setdefault("vulnerable", {})
    fresh: list[ScanRow] = []
    against: list[str] = []
    for one in stored:
        name = (one.manifest.sha256, policy.model_dump_json())
        if name not in known:
            known[name] = _look(one, policy)
            fresh.append(known[name][0])
        reason = known[name][1]
        if reason is not None:
            against.append(reason)
    _keep(here, fresh)
    return against


def refuse_vulnerable(here: Site, host: Host, stored: Iterable[Stored]) -> None:
    """The same for artifacts that exist already, while planning.

    Raises:
        RefusedError: the policy blocks them.
    """
    found = problem(here, host, stored)
    if found is not None:
        raise RefusedError(f"{found}; nothing was changed")


def _look(stored: Stored, policy: Vulnerabilities) -> tuple[ScanRow, str | None]:
    """What is known of one binary, and what of it stands against its release."""
    spec, now = stored.manifest.spec, datetime.now(UTC)
    name = f"{spec.service} {spec.version} {spec.platform}"
    row = ScanRow(
        service=spec.service,
        platform=spec.platform,
        version=spec.version,
        sha256=stored.manifest.sha256,
        database=policy.database,
    )
    try:
        stripped = inspect(stored.path).stripped
        found = govulncheck.scan(stored.path, policy, stripped=stripped)
    except GofallbackError as error:
        return row.model_copy(update={"problem": str(error)}), f"{name}: {error}"
    judged, old = judge(found, policy, now), too_old(found, policy, now)
    reasons = [reason for reason in (_counting(name, judged), old) if reason]
    return _filled(row, found, judged, old or ""), "; ".join(reasons) or None


def _counting(name: str, judged: list[Judged]) -> str | None:
    ids = list(dict.fromkeys(one.finding.id for one in judged if one.counts))
    if not ids:
        return None
    shown = ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")
    again = [one for one in judged if one.state == "expired"]
    expired = f"; {again[0].finding.id}: {again[0].note}" if again else ""
    return f"{name} has {len(ids)} known {'vulnerability' if len(ids) == 1 else 'vulnerabilities'}: {shown}{expired}"


def _filled(row: ScanRow, found: Scan, judged: list[Judged], problem: str) -> ScanRow:
    modified = found.modified.isoformat().replace("+00:00", "Z") if found.modified else ""
    findings = [
        VulnerabilityRow(
            id=one.finding.id,
            module=one.finding.module,
            version=one.finding.version,
            fixed=one.finding.fixed,
            level=one.finding.level,
            symbols=list(one.finding.symbols),
            aliases=list(one.finding.aliases),
            summary=one.finding.summary,
            state=one.state,
            note=one.note,
        )
        for one in judged
    ]
    return row.model_copy(
        update={
            "scanner": found.scanner,
            "modified": modified,
            "stripped": found.stripped,
            "problem": problem,
            "findings": findings,
        }
    )


def _keep(here: Site, fresh: list[ScanRow]) -> None:
    if vulnerabilities.rows(fresh):
        screen.console(sys.stderr).print(vulnerabilities.table(fresh))
    for row in fresh:
        here.run.scans.append(row)
        tell_scan(here.run, row)
