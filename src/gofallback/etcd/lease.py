"""A run's lease in etcd, for several controllers whose targets differ: one key per service, bound to one etcd lease.

The client is etcd3gw (OpenStack's, over etcd's own HTTP gateway). One transaction creates or takes over the keys of
all services of a run, or none. Targets still fence late writes; the lease in etcd keeps two runs from starting at once.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from gofallback.errors import GofallbackError
from gofallback.etcd.client import Cluster, EtcdError, KeyValue
from gofallback.etcd.url import EtcdUrl
from gofallback.lease.holder import Holder, Takeover, refusal
from gofallback.runid import same_run

T = TypeVar("T")


class LeaseError(GofallbackError):
    """The run has no lease: one line with the holder or the problem, and the remedy."""


@dataclass
class EtcdLease:
    """One run's lease on services of an environment.

    Args:
        url: `rollout.lease`.
        environment: its name.
        services: names; the lease is on all of them, or none.
        ttl: seconds after which etcd ends a lease that is not renewed (`rollout.lease_ttl`).
        run_id: of this run.
        who: user@host of the controller.
        takeover: id of a running run that may lose the lease to this one.
        report: called when etcd stops answering, and when it answers again.
    """

    url: str
    environment: str
    services: Sequence[str]
    ttl: int
    run_id: str
    who: str
    takeover: str | None = None
    report: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.where = EtcdUrl.parse(self.url)
        self.url = str(self.where)  # without the password
        self._cluster = Cluster(self.where, timeout=min(5.0, self.ttl / 3))
        self._keys = {f"/gofallback/{self.environment}/{name}": name for name in sorted(set(self.services))}
        self._id: str | None = None
        self._renewed = 0.0
        self._lost_reason: str | None = None
        self._unreachable = False
        self._stop = threading.Event()
        self.takeovers: tuple[Takeover, ...] = ()
        """Leases that `acquire` took from a running run."""

    def __str__(self) -> str:
        return f"lease on {', '.join(self._keys)} in {self.where}"

    def acquire(self) -> None:
        """Take the lease, and renew it in the background from now on.

        Raises:
            LeaseError: another run has it; or etcd does not answer, or refuses.
        """
        began = time.monotonic()
        found = self._request(lambda: self._cluster.get(self._keys))
        taken = [self._takeover_of(key, entry) for key, entry in found.items()]
        self._id = self._request(lambda: self._cluster.grant(self.ttl))
        value = json.dumps({"run": self.run_id, "who": self.who, "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"})
        if not self._request(lambda: self._cluster.put_if(found, dict.fromkeys(self._keys, value), str(self._id))):
            with contextlib.suppress(EtcdError):
                self._cluster.revoke(self._id)
            self._id = None
            now = self._request(lambda: self._cluster.get(self._keys))
            for key, entry in now.items():
                self._takeover_of(key, entry, late=True)
            raise LeaseError(f"{self}: another run was faster; wait for it to end, nothing was changed")
        self._renewed = began
        self.takeovers = tuple(takeover for takeover in taken if takeover is not None)
        threading.Thread(target=self._renew_until_stopped, daemon=True, name="lease etcd").start()

    def renew(self) -> None:
        """Renew the lease for another ttl, now; `lost_reason` shows any problem."""
        lease, began = self._id, time.monotonic()
        if lease is None or self._lost_reason:
            return
        try:
            alive, found = self._cluster.keep_alive(lease), self._cluster.get(self._keys)
        except EtcdError as error:
            if not self._unreachable:
                self.report(f"{error}; the run goes on until the lease is not renewed for {self.ttl} s")
            self._unreachable = True
            return
        others = {key: _holder(entry) for key, entry in found.items() if entry is not None and entry.lease != lease}
        if others:
            key, other = next(iter(others.items()))
            self._lost_reason = f"run {other.run_id} of {other.who} took over {key} in {self.where}"
        elif not alive or None in found.values():
            self._lost_reason = f"{self} has expired: it was not renewed for {self.ttl} s"
        elif self.lost_reason() is None:  # a late answer does not restore a lost lease
            self._renewed = began
            if self._unreachable:
                self.report(f"{self.where} answers again; the lease was kept")
            self._unreachable = False

    def lost_reason(self) -> str | None:
        """The reason the run has lost its lease, or None. A lost lease stays lost."""
        if self._id is not None and self._lost_reason is None and time.monotonic() - self._renewed >= self.ttl:
            self._lost_reason = f"{self} was not renewed for {self.ttl} s, as etcd did not answer"
        return self._lost_reason

    def release(self) -> None:
        """Give the lease back; if etcd does not answer now, the lease expires by itself."""
        self._stop.set()
        lease, self._id = self._id, None
        if lease is not None:
            with contextlib.suppress(EtcdError):
                self._cluster.revoke(lease)  # keys of a later run are not bound to it

    def check(self) -> None:
        """Check that `acquire` can succeed. If the holder has stopped renewing, wait until its lease expires.

        Raises:
            LeaseError: as `acquire`.
        """
        before: dict[str, Holder] = {}
        began, reported = time.monotonic(), False
        while True:
            waiting = False
            for key, entry in self._request(lambda: self._cluster.get(self._keys)).items():
                now = self._holder_now(entry) if entry is not None else None
                if now is None or self._free(now):
                    continue
                was = before.setdefault(key, now)
                # etcd shows whole seconds: a short lease may show the same number before and after a renewal
                outlived = time.monotonic() - began > (was.expires_in or 0) + 1.5
                if now.run_id != was.run_id or (now.expires_in or 0) > (was.expires_in or 0) or outlived:
                    self._refuse(key, now)
                waiting = True
            if not waiting:
                return
            if time.monotonic() - began > self.ttl / 3 + 1 and not reported:
                holders = ", ".join(map(str, before.values()))
                self.report(f"{holders} has stopped renewing its lease; waiting for the lease to end")
                reported = True
            time.sleep(0.5)

    def _takeover_of(self, key: str, entry: KeyValue | None, *, late: bool = False) -> Takeover | None:
        """The takeover of a key from a running run; None for a free key, or one of a dead predecessor."""
        if entry is None:
            return None
        now = self._holder_now(entry)
        if late or not self._free(now):
            self._refuse(key, now)
        if now.run_id == self.takeover:
            return Takeover(self._keys[key], 0, now.run_id, now.who, now.since)
        return None

    def _free(self, now: Holder) -> bool:
        # A running run renews when a third of the ttl is over: with half of it gone the run is dead.
        dead = now.expires_in is not None and now.expires_in < self.ttl / 2
        return now.run_id in (self.run_id, self.takeover) or (same_run(now.run_id, self.run_id) and dead)

    def _refuse(self, key: str, now: Holder) -> None:
        raise LeaseError(f"{self.where}: {refusal(self._keys[key], now, self.takeover)}")

    def _holder_now(self, entry: KeyValue) -> Holder:
        holder, left = _holder(entry), self._request(lambda: self._cluster.time_left(entry.lease))
        return Holder(holder.run_id, holder.who, holder.since, expires_in=left, expired=left <= 0)

    def _request(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except EtcdError as error:
            raise LeaseError(f"{error}; nothing was changed") from None

    def _renew_until_stopped(self) -> None:
        while (
            not self._stop.wait(min(1.0, self.ttl / 6) if self._unreachable else self.ttl / 3)
            and self._lost_reason is None
        ):
            self.renew()


def _holder(entry: KeyValue) -> Holder:
    """The holder that a run wrote; an unknown value is a holder too."""
    try:
        value: Mapping[str, Any] = json.loads(entry.value)
        return Holder(str(value["run"]), str(value["who"]), str(value["since"]))
    except (ValueError, KeyError, TypeError):
        return Holder()
