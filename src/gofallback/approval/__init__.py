"""Approvals: signed statements by people that a release may go to an environment. See docs/approvals.md."""
