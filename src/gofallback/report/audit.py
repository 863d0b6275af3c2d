"""Who ran it, why, who approved it, and which rules were set aside: the same lines in every form of the report."""

from __future__ import annotations

from gofallback.report.model import Report
from gofallback.report.rows import ApprovalRow, Identity

_SET_ASIDE = {
    "freeze": "rolled out in a freeze",
    "break-glass": "rolled out without the approvals it needs",
    "takeover": "took over another run's lease",
    "twin": "shipped what no second builder confirmed",
}


def lines(report: Report) -> list[tuple[str, str]]:
    """Pairs of a label and a text, for a list."""
    found = [("by", _who(report.identity) if report.identity else report.who)]
    if report.identity:
        found += [("key", key) for key in report.identity.keys[:_MOST]]
        if len(report.identity.keys) > _MOST:
            found.append(("key", f"and {len(report.identity.keys) - _MOST} more, see report.json"))
        found += [("data", _data(report.identity))] if report.identity.commit else []
    if report.why:
        found.append(("because", report.why))
    found += [("approved", _approval(row)) for row in report.approvals]
    if report.journal:
        found.append(("journal", f"{report.journal.lines} lines, the last has the hash {report.journal.head}"))
    return found


_MOST = 4


def overrides(report: Report) -> list[str]:
    """One loud line for each rule that was set aside."""
    return [
        f"OVERRIDE: {_SET_ASIDE.get(row.kind, row.kind)}"
        + (f" ({row.what})" if row.what else "")
        + f", because: {row.why or 'no reason was given'}"
        for row in report.overrides
    ]


def _who(one: Identity) -> str:
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
