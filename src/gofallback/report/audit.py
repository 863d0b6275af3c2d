"""Person, reason, approvals and overridden rules of a run: the same lines in every form of the report."""

from __future__ import annotations

from gofallback.report.model import Report
from gofallback.report.rows import ApprovalRow, Identity

_OVERRIDDEN = {
    "freeze": "rolled out in a freeze",
    "break-glass": "rolled out without the approvals it needs",
    "takeover": "took over another run's lease",
    "twin": "shipped binaries that no second builder confirmed",
}


_MOST_KEYS = 4


def lines(report: Report) -> list[tuple[str, str]]:
    """Pairs of label and text, for a list."""
    found = [("by", _person(report.identity) if report.identity else report.who)]
    if report.identity:
        found += [("key", key) for key in report.identity.keys[:_MOST_KEYS]]
        if len(report.identity.keys) > _MOST_KEYS:
            found.append(("key", f"and {len(report.identity.keys) - _MOST_KEYS} more, see report.json"))
        found += [("data", _data(report.identity))] if report.identity.commit else []
    if report.why:
        found.append(("because", report.why))
    found += [("approved", _approval(row)) for row in report.approvals]
    if report.journal:
        found.append(("journal", f"{report.journal.lines} lines, the last has the hash {report.journal.head}"))
    return found


def overrides(report: Report) -> list[str]:
    """One loud line for each overridden rule."""
    return [
        f"OVERRIDE: {_OVERRIDDEN.get(row.kind, row.kind)}"
        + (f" ({row.what})" if row.what else "")
        + f", because: {row.why or 'no reason was given'}"
        for row in report.overrides
    ]


def _person(one: Identity) -> str:
    sudo = f" by sudo from {one.sudo_user}" if one.sudo_user and one.sudo_user != one.user else ""
    return f"{one.user} (uid {one.uid}){sudo} on {one.host}, process {one.pid}"


def _data(one: Identity) -> str:
    state = {True: " with changes that are not committed", False: "", None: ""}[one.dirty]
    version = f", gofallback {one.gofallback}" if one.gofallback else ""
    return f"commit {one.commit}{state}{version}"


def _approval(row: ApprovalRow) -> str:
    at = f" at {row.at}" if row.at else ""
    expires = f", valid until {row.expires}" if row.expires else ""
    return f"{row.principal}{f' with {row.key}' if row.key else ''}{at}{expires}"
