"""Run ids: `20261122T031244Z-9f3a`, and those of a run's continuations, which append to it: `...-9f3a-r1`. Pure."""

from __future__ import annotations


def base_of(run_id: str) -> str:
    """The run that a continuation belongs to: its id up to the second hyphen."""
    return "-".join(run_id.split("-")[:2])


def same_run(one: str, other: str) -> bool:
    """Whether one run goes on with the other."""
    return base_of(one) == base_of(other)
