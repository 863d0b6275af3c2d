"""Ids of runs: sortable, unique, and the same base for a run and its continuations."""

from __future__ import annotations

import secrets
from datetime import datetime


def new_run_id(now: datetime) -> str:
    """Sortable and unique: ``20261122T031244Z-9f3a``."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def base_of(run_id: str) -> str:
    """The run that a continuation belongs to: its id up to the second hyphen."""
    return "-".join(run_id.split("-")[:2])


def same_run(one: str, other: str) -> bool:
    """Whether one run goes on with the other."""
    return base_of(one) == base_of(other)
