"""A run's lease in etcd, for several controllers whose targets differ: one key a service, bound to one etcd lease.

The client is etcd3gw (OpenStack's, over etcd's own HTTP gateway). Keys are created, and taken over, in one transaction:
all services of a run or none. What fences late writes stays on the targets; this keeps two runs from beginning at once.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from gofallback.errors import GofallbackError
from gofallback.etcd.client import Cluster, EtcdError, Found
from gofallback.etcd.url import EtcdUrl
from gofallback.lease.holder import Holder, Takeover, refusal
from gofallback.runid import same_run

T = TypeVar("T")


class LeaseError(GofallbackError):
    """There is no lease: one line that says who has it, or what is wrong, and what to do."""


class Lease(Protocol):
    """What keeps two runs apart, wherever it is kept."""

    def acquire(self) -> None:
        """Take it. LeaseError when somebody else has it, or nobody answers."""

    def renew(self) -> None:
        """Keep it for another ttl, now. Nobody answering is no error yet: see `lost`."""

    def lost(self) -> str | None:
        """Why it is not ours any more; None: it is."""

    def release(self) -> None:
        """Give it back; nothing if it is not ours."""

    def holder(self) -> Holder | None:
        """Who has it."""


@dataclass
class EtcdLease:
    """One run's lease on services of an environment.

    Args:
        url: `rollout.lease`.
        environment: its name.
        services: names; all are taken, or none.
        ttl: seconds after which etcd lets it go when it is not renewed (`rollout.lease_ttl`).
        run_id: of this run.
        who: user@host of the controller.
        takeover: id of the run it may be taken from though that lives.
        say: told when etcd stops answering, and when it answers again.
    """

    url: str
    environment: str
    services: Sequence[str]
    ttl: int
    run_id: str
    who: str
    takeover: str | None = None
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.where = EtcdUrl.parse(self.url)
        self.url = str(self.where)  # without the password
        self._cluster = Cluster(self.where, timeout=min(5.0, self.ttl / 3))
        self._keys = {f"/gofallback/{self.environment}/{name}": name for name in sorted(set(self.services))}
        self._id: str | None = None
        self._renewed = 0.0
        self._ended: str | None = None
        self._away = False
        self._stop = threading.Event()
        self.takeovers: tuple[Takeover, ...] = ()
        """What `acquire` took from a run that still had it."""

    def __str__(self) -> str:
        return f"lease on {', '.join(self._keys)} in {self.where}"

    def acquire(self) -> None:
        """Take it, and renew it in the background from now on.

        Raises:
            LeaseError: somebody else has it; or etcd does not answer, or refuses.
        """
        began = time.monotonic()
        found = self._ask(lambda: self._cluster.get(self._keys))
        taken = [self._may_have(key, kept) for key, kept in found.items()]
        self._id = self._ask(lambda: self._cluster.grant(self.ttl))
        value = json.dumps({"run": self.run_id, "who": self.who, "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"})
        if not self._ask(lambda: self._cluster.put_if(found, dict.fromkeys(self._keys, value), str(self._id))):
            with contextlib.suppress(EtcdError):
                self._cluster.revoke(self._id)
            self._id = None
            now = self._ask(lambda: self._cluster.get(self._keys))
            for key, kept in now.items():
                self._may_have(key, kept, late=True)
            raise LeaseError(f"{self}: another run was faster; wait for it to end, nothing was changed")
        self._renewed = began
        self.takeovers = tuple(one for one in taken if one is not None)
        threading.Thread(target=self._keep, daemon=True, name="lease etcd").start()

    def renew(self) -> None:
        """Keep it for another ttl, now; what goes wrong shows in `lost`."""
        lease, began = self._id, time.monotonic()
        if lease is None or self._ended:
            return
        try:
            alive, found = self._cluster.keep_alive(lease), self._cluster.get(self._keys)
        except EtcdError as error:
            if not self._away:
                self.say(f"{error}; the run goes on until the lease is not renewed for {self.ttl} s")
            self._away = True
            return
        others = {key: _holder(kept) for key, kept in found.items() if kept is not None and kept.lease != lease}
        if others:
            key, other = next(iter(others.items()))
            self._ended = f"run {other.run_id} of {other.who} took over {key} in {self.where}"
        elif not alive or None in found.values():
            self._ended = f"{self} has expired: it was not renewed for {self.ttl} s"
        elif self.lost() is None:  # an answer that comes too late brings nothing back
            self._renewed = began
            if self._away:
                self.say(f"{self.where} answers again; the lease was kept")
            self._away = False

    def lost(self) -> str | None:
        """Why it is not ours any more; None: it is, or never was. Once lost, it stays so."""
        if self._id is not None and self._ended is None and time.monotonic() - self._renewed >= self.ttl:
            self._ended = f"{self} was not renewed for {self.ttl} s, as etcd did not answer"
        return self._ended

    def release(self) -> None:
        """Give it back; etcd lets it go by itself where it does not answer now."""
        self._stop.set()
        lease, self._id = self._id, None
        if lease is not None:
            with contextlib.suppress(EtcdError):
                self._cluster.revoke(lease)  # keys that a later run has put are not bound to it

    def holder(self) -> Holder | None:
        """Who has it: the first of the services somebody else has, else this run itself.

        Raises:
            LeaseError: etcd does not answer, or refuses.
        """
        found = [kept for kept in self._ask(lambda: self._cluster.get(self._keys)).values() if kept is not None]
        found.sort(key=lambda kept: kept.lease == self._id)
        return self._seen(found[0]) if found else None

    def check(self) -> None:
        """Whether `acquire` would be refused by a living run. One that fell silent is waited for until its lease ends.

        Raises:
            LeaseError: as `acquire`.
        """
        before: dict[str, Holder] = {}
        began, told = time.monotonic(), False
        while True:
            waiting = False
            for key, kept in self._ask(lambda: self._cluster.get(self._keys)).items():
                now = self._seen(kept) if kept is not None else None
                if now is None or self._free(now):
                    continue
                was = before.setdefault(key, now)
                # etcd tells whole seconds: a short lease may show the same number before and after a renewal
                outlived = time.monotonic() - began > (was.expires_in or 0) + 1.5
                if now.run_id != was.run_id or (now.expires_in or 0) > (was.expires_in or 0) or outlived:
                    self._refuse(key, now)
                waiting = True
            if not waiting:
                return
            if time.monotonic() - began > self.ttl / 3 + 1 and not told:
                self.say(
                    f"{', '.join(map(str, before.values()))} is not heard of any more; waiting for its lease to end"
                )
                told = True
            time.sleep(0.5)

    def _may_have(self, key: str, kept: Found | None, *, late: bool = False) -> Takeover | None:
        """What it is taken over from, if it is; None: nobody has the key, or a dead predecessor has it."""
        if kept is None:
            return None
        now = self._seen(kept)
        if late or not self._free(now):
            self._refuse(key, now)
        if now.run_id == self.takeover:
            return Takeover(self._keys[key], 0, now.run_id, now.who, now.since)
        return None

    def _free(self, now: Holder) -> bool:
        # A living run renews when a third of the ttl is over; half of it is past any doubt.
        dead = now.expires_in is not None and now.expires_in < self.ttl / 2
        return now.run_id in (self.run_id, self.takeover) or (same_run(now.run_id, self.run_id) and dead)

    def _refuse(self, key: str, now: Holder) -> None:
        raise LeaseError(f"{self.where}: {refusal(self._keys[key], now, self.takeover)}")

    def _seen(self, kept: Found) -> Holder:
        holder, left = _holder(kept), self._ask(lambda: self._cluster.time_left(kept.lease))
        return Holder(holder.run_id, holder.who, holder.since, expires_in=left, expired=left <= 0)

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except EtcdError as error:
            raise LeaseError(f"{error}; nothing was changed") from None

    def _keep(self) -> None:
        while not self._stop.wait(min(1.0, self.ttl / 6) if self._away else self.ttl / 3) and self._ended is None:
            self.renew()


def _holder(kept: Found) -> Holder:
    """What a run wrote; a value of somebody else's is a holder too."""
    try:
        value: Mapping[str, Any] = json.loads(kept.value)
        return Holder(str(value["run"]), str(value["who"]), str(value["since"]))
    except (ValueError, KeyError, TypeError):
        return Holder()
