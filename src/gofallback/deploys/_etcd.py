"""The run's lease in etcd, for controllers whose targets differ; with `rollout.lease: targets` there is none."""

from __future__ import annotations

from gofallback.deploys._site import Site


def take(here: Site) -> str | None:
    """Take the lease, once for all targets; why not, or None."""
    return None


def check(here: Site) -> None:
    """Refuse a run whose lease in etcd somebody living has, or whose etcd does not answer.

    Raises:
        RefusedError: one line.
    """
