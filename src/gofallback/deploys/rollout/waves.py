"""Which targets go first, when the next may follow, and what stops them: `gofallback.rollout`, applied to this run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pyinfra.api.host import Host

from gofallback.deploys.run.context import RefusedError, Site, members
from gofallback.deploys.run.state import Outcome, WaveTiming
from gofallback.etcd.url import EtcdUrl
from gofallback.model.rollout import Rollout
from gofallback.rollout import decide, waves
from gofallback.rollout.decide import Standing
from gofallback.rollout.waves import Member, Wave, WaveError

#: Nobody goes first on the way back: every second on a bad release counts.
_AT_ONCE = frozenset({"rollback"})


@dataclass(frozen=True)
class Step:
    """One entry of the schedule that every target goes through in the same order."""

    kind: Literal["switch", "gate", "pause", "look"]
    """`look`: the gate once more, behind a pause: that is what a pause is for."""
    wave: Wave
    service: str = ""


def strategy(here: Site) -> Rollout:
    """How this run goes over the fleet."""
    return here.fleet(here.targets[0]).rollout if here.targets else Rollout()


def check(here: Site) -> None:
    """Refuse waves that cannot be made.

    Raises:
        RefusedError: two targets disagree, or a canary or label nobody has.
    """
    for host in here.targets[1:]:
        for key in Rollout.model_fields:
            first, other = getattr(strategy(here), key), getattr(here.fleet(host).rollout, key)
            if first != other:
                raise RefusedError(
                    f"rollout.{key}: {_told(other)} for {host.name}, {_told(first)} for {here.targets[0].name}; "
                    "one rollout has one strategy, set it for all targets alike"
                )
    try:
        plan(here)
    except WaveError as error:
        raise RefusedError(str(error)) from None


def _told(value: object) -> str:
    return str(EtcdUrl.parse(value)) if isinstance(value, str) and "://" in value else str(value)  # no password


def plan(here: Site) -> tuple[Wave, ...]:
    """The waves of this run; worked out once."""
    if "waves" not in here.memo:
        found: tuple[Wave, ...]
        if at_once(here):
            found = (Wave(0, "all", tuple(host.name for host in _concerned(here))),)
        else:
            everybody = [host.name for host in members(here.state, "targets")]
            found = waves.plan([_member(here, host) for host in _concerned(here)], _reachable(here), everybody)
        here.run.waves = [WaveTiming(wave.name, wave.hosts) for wave in found]
        here.memo["waves"] = found
    kept: tuple[Wave, ...] = here.memo["waves"]
    return kept


def at_once(here: Site) -> bool:
    """Whether all targets are switched together."""
    return here.run.command in _AT_ONCE or here.run.options.abort is not None


def _concerned(here: Site) -> list[Host]:
    """Targets with a service of this run: one without any is nobody's canary, and no part of a percentage."""
    return [host for host in here.targets if here.services(host)]


def _reachable(here: Site) -> Rollout:
    """The strategy; where no named canary can be reached, the first target that can goes first in their place."""
    wanted, names = strategy(here), {host.name for host in here.targets}
    if not isinstance(wanted.canary, list) or names & {*wanted.canary}:
        return wanted
    gone = [name for name in wanted.canary if name in here.unreachable_targets]
    if not gone or len(names) < 2:
        return wanted
    here.run.note(f"{', '.join(gone)}: no canary can be reached; the first target goes first")
    return wanted.model_copy(update={"canary": 1})


def _member(here: Site, host: Host) -> Member:
    target = here.fleet(host).target
    return Member(host.name, target.labels, target.canary)


def schedule(here: Site, services: tuple[str, ...]) -> list[Step]:
    """Every wave's switches, its gate, the pause after it and a look then: the same list for every target.

    Args:
        here: the run and its hosts.
        services: names of all services of the run, in order.
    """
    steps: list[Step] = []
    order = plan(here)
    for wave in order:
        steps += [Step("switch", wave, service) for service in services]
        if wave is not order[-1]:
            steps.append(Step("gate", wave))
            if strategy(here).pause:
                steps += [Step("pause", wave), Step("look", wave)]
    return steps


def in_order(here: Site) -> list[Host]:
    """All targets that have a service of this run, by wave."""
    by_name = {host.name: host for host in here.targets}
    return [by_name[name] for wave in plan(here) for name in wave.hosts]


def standing(here: Site) -> dict[str, Standing]:
    """Where every target of the run stands, all of its services together."""
    return {host.name: _standing(here, host) for host in in_order(here)}


def _standing(here: Site, host: Host) -> Standing:
    outcomes = [outcome for (name, _), outcome in here.run.outcomes.items() if name == host.name]
    if any(outcome.lost for outcome in outcomes):
        return "lost"
    states = {outcome.state for outcome in outcomes}
    bad: Standing
    for bad in ("failed", "reverted"):
        if bad in states:
            return bad
    if host not in here.state.active_hosts:
        return "failed"
    good: Standing
    for good in ("provisional", "untouched", "confirmed", "unchanged"):
        if good in states and "planned" not in states:
            return good
    return "waiting"


def halt(here: Site) -> str | None:
    """Why nothing more may be switched; None while all is well.

    A builder that failed stops everything: there is nothing to switch to. Targets that failed stop it past the budget,
    whatever they were doing, so that a release which cannot be uploaded somewhere is not switched elsewhere. On the way
    back nobody who failed keeps the others on what they are to leave, once it has begun.
    """
    if here.builder is not None and here.builder not in here.state.active_hosts:
        return here.run.cause or f"{here.builder.name} failed (see above)"
    if here.memo.get("stop"):
        return str(here.memo["stop"])
    found = None if at_once(here) and _begun(here) else _past_budget(here)
    if found is None:
        return _outside(here)
    allowed = decide.allowance(strategy(here).budget, len(standing(here)))
    if here.run.cause and allowed and "decision" not in here.memo:  # that has made it the cause itself
        return f"{found}; first: {here.run.cause}"
    return here.run.cause or found


def _begun(here: Site) -> bool:
    return bool(plan(here)) and here.run.waves[0].state != "waiting"


def _past_budget(here: Site) -> str | None:
    return decide.stop(standing(here), plan(here), strategy(here).budget)


def _outside(here: Site) -> str | None:
    """A lease that was lost, and the like."""
    watch: list[Callable[[], str | None]] = here.memo.get("watch", [])
    return next((reason for look in watch if (reason := look()) is not None), None)


def stopped(here: Site, host: Host) -> bool:
    """Whether the builder need not work, because a target has failed already; says so."""
    reason = halt(here)
    if reason is not None:
        host.log_styled(f"nothing is built, because of {reason}", fg="yellow")
    return reason is not None


def fallen_here(here: Site, host: Host) -> Outcome | None:
    """What went wrong on this target already; it is left out of what follows."""
    for (name, _), outcome in here.run.outcomes.items():
        if name == host.name and (outcome.lost or outcome.state in ("failed", "reverted")):
            return outcome
    return None


def begin(here: Site, wave: Wave) -> None:
    """The first switch of a wave: note when."""
    timing = here.run.waves[wave.number]
    if timing.state == "waiting":
        for earlier in plan(here)[: wave.number]:
            end(here, earlier)
        timing.state, timing.start = "begun", here.run.elapsed
        here.run.tell("wave", name=wave.name, number=wave.number, state="begun", hosts=list(wave.hosts))


def end(here: Site, wave: Wave) -> None:
    """The gate of a wave: note whether it passed; once."""
    timing = here.run.waves[wave.number]
    if timing.state != "begun":
        return
    reason = halt(here) or _past_budget(here)
    timing.state, timing.end = ("failed" if reason else "passed"), here.run.elapsed
    here.run.tell("wave", name=wave.name, number=wave.number, state=timing.state, reason=reason or "")
