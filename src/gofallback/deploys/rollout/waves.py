"""Which targets go first, when the next may follow, and what stops them: `gofallback.rollout` applied to this run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyinfra.api.host import Host

from gofallback.deploys.run.context import Key, RunContext, members
from gofallback.deploys.run.outcome import TargetOutcome
from gofallback.deploys.run.state import WaveTiming
from gofallback.errors import RefusedError
from gofallback.etcd.url import EtcdUrl
from gofallback.journal.events import WaveChanged
from gofallback.model.rollout import Rollout
from gofallback.rollout import decide, waves
from gofallback.rollout.phases import USES_BUDGET, TargetPhase
from gofallback.rollout.waves import Member, Wave, WaveError

_WAVES: Key[tuple[Wave, ...]] = Key("waves")


@dataclass(frozen=True)
class Step:
    """One entry of the schedule that every target goes through in the same order."""

    kind: Literal["switch", "gate", "pause", "recheck"]
    """`recheck`: the gate once more after a pause, as a pause is there to let problems show."""
    wave: Wave
    service: str = ""


def strategy(ctx: RunContext) -> Rollout:
    """Group data's strategy, equal for all targets (`check_strategy`). Options of the command line are not in it."""
    return ctx.fleet(ctx.targets[0]).rollout if ctx.targets else Rollout()


def check_strategy(ctx: RunContext) -> None:
    """Refuse waves that cannot be made.

    Raises:
        RefusedError: two targets disagree, or no target has a named canary or label.
    """
    for host in ctx.targets[1:]:
        for key in Rollout.model_fields:
            first, other = getattr(strategy(ctx), key), getattr(ctx.fleet(host).rollout, key)
            if first != other:
                raise RefusedError(
                    f"rollout.{key}: {_shown(other)} for {host.name}, {_shown(first)} for {ctx.targets[0].name}; "
                    "one rollout has one strategy, set it for all targets alike"
                )
    try:
        planned_waves(ctx)
    except WaveError as error:
        raise RefusedError(str(error)) from None


def _shown(value: object) -> str:
    return str(EtcdUrl.parse(value)) if isinstance(value, str) and "://" in value else str(value)  # no password


def planned_waves(ctx: RunContext) -> tuple[Wave, ...]:
    """The waves of this run; planned once."""

    def plan() -> tuple[Wave, ...]:
        found: tuple[Wave, ...]
        if ctx.run.goes_back:
            found = (Wave(0, "all", tuple(host.name for host in _concerned(ctx))),)
        else:
            known = [host.name for host in members(ctx.state, "targets")]
            found = waves.plan([_member(ctx, host) for host in _concerned(ctx)], _reachable_strategy(ctx), known)
        ctx.run.waves = [WaveTiming(wave.name, wave.hosts) for wave in found]
        return found

    return ctx.once(_WAVES, plan)


def _concerned(ctx: RunContext) -> list[Host]:
    """Targets with a service of this run. A target without any is no canary, and no part of a percentage."""
    return [host for host in ctx.targets if ctx.services(host)]


def _reachable_strategy(ctx: RunContext) -> Rollout:
    """The strategy. Where no named canary can be reached, the first reachable target is the canary."""
    rollout, names = strategy(ctx), {host.name for host in ctx.targets}
    if not isinstance(rollout.canary, list) or names & {*rollout.canary}:
        return rollout
    unreachable = [name for name in rollout.canary if name in ctx.unreachable_targets]
    if not unreachable or len(names) < 2:
        return rollout
    ctx.run.note(f"{', '.join(unreachable)}: no canary can be reached; the first target goes first")
    return rollout.model_copy(update={"canary": 1})


def _member(ctx: RunContext, host: Host) -> Member:
    target = ctx.fleet(host).target
    return Member(host.name, target.labels, target.canary)


def schedule(ctx: RunContext, services: tuple[str, ...]) -> list[Step]:
    """The switches of every wave, its gate, the pause after it and a recheck: the same list for every target.

    Args:
        ctx: the run and its hosts.
        services: names of all services of the run, in order.
    """
    steps: list[Step] = []
    order = planned_waves(ctx)
    for wave in order:
        steps += [Step("switch", wave, service) for service in services]
        if wave is not order[-1]:
            steps.append(Step("gate", wave))
            if strategy(ctx).pause:
                steps += [Step("pause", wave), Step("recheck", wave)]
    return steps


def in_order(ctx: RunContext) -> list[Host]:
    """All targets that have a service of this run, by wave."""
    by_name = {host.name: host for host in ctx.targets}
    return [by_name[name] for wave in planned_waves(ctx) for name in wave.hosts]


def target_phases(ctx: RunContext) -> dict[str, TargetPhase]:
    """The phase of every target of the run, all of its services together."""
    return {host.name: _phase_of(ctx, host) for host in in_order(ctx)}


#: Of several services on one target, the first phase of these lists that any of them is in counts for the target.
_WORST_FIRST = (TargetPhase.LOST, TargetPhase.FAILED, TargetPhase.REVERTED)
_THEN = (
    TargetPhase.SWITCHING,
    TargetPhase.PROVISIONAL,
    TargetPhase.UNTOUCHED,
    TargetPhase.CONFIRMED,
    TargetPhase.TAKEN_BACK,
    TargetPhase.UNCHANGED,
)


def _phase_of(ctx: RunContext, host: Host) -> TargetPhase:
    phases = {outcome.phase for (name, _), outcome in ctx.run.outcomes.items() if name == host.name}
    bad = next((phase for phase in _WORST_FIRST if phase in phases), None)
    if bad is not None:
        return bad
    if host not in ctx.state.active_hosts:
        return TargetPhase.FAILED
    if TargetPhase.PLANNED in phases:
        return TargetPhase.PLANNED
    return next((phase for phase in _THEN if phase in phases), TargetPhase.PLANNED)


def stop_reason(ctx: RunContext) -> str | None:
    """The reason nothing more may be switched, or None.

    A builder that failed stops everything: there is nothing to switch to. A stage may have objected (`Run.veto`).
    Targets that failed stop the rest past the budget, whatever they were doing, so that a release which cannot be
    uploaded to some targets is not switched on others. Once a rollback has begun, failed targets do not stop the rest.
    Watchers report what happens outside, such as a lost lease.

    Do not ask for `rollback_deadline` here: a fleet whose last wave began in time would be taken back.
    """
    if ctx.builder is not None and ctx.builder not in ctx.state.active_hosts:
        return ctx.run.cause or f"{ctx.builder.name} failed (see above)"
    if ctx.run.vetoed:
        return ctx.run.vetoed
    over = None if ctx.run.goes_back and _any_wave_started(ctx) else _past_budget(ctx)
    if over is None:
        return next((reason for watcher in ctx.watchers if (reason := watcher()) is not None), None)
    allowed = decide.allowance(strategy(ctx).budget, len(target_phases(ctx)))
    if ctx.run.cause and allowed and ctx.decision is None:  # the decision makes this reason the cause
        return f"{over}; first: {ctx.run.cause}"
    return ctx.run.cause or over


def _any_wave_started(ctx: RunContext) -> bool:
    return bool(planned_waves(ctx)) and ctx.run.waves[0].state != "waiting"


def _past_budget(ctx: RunContext) -> str | None:
    return decide.stop(target_phases(ctx), planned_waves(ctx), strategy(ctx).budget)


def skip_if_stopped(ctx: RunContext, host: Host) -> bool:
    """Whether a builder has nothing to do, because the run is stopped already; prints the reason."""
    reason = stop_reason(ctx)
    if reason is not None:
        host.log_styled(f"nothing is built, because of {reason}", fg="yellow")
    return reason is not None


def failed_outcome(ctx: RunContext, host: Host) -> TargetOutcome | None:
    """The outcome of a service that failed on this target, or None; the target is left out of what follows."""
    for (name, _), outcome in ctx.run.outcomes.items():
        if name == host.name and outcome.phase in USES_BUDGET:
            return outcome
    return None


def begin_wave(ctx: RunContext, wave: Wave) -> None:
    """Record when the first target of a wave is switched; once."""
    timing = ctx.run.waves[wave.number]
    if timing.state == "waiting":
        for earlier in planned_waves(ctx)[: wave.number]:
            end_wave(ctx, earlier)
        timing.state, timing.start = "begun", ctx.run.elapsed
        ctx.run.emit(WaveChanged(wave=wave.name, number=wave.number, state="begun", hosts=wave.hosts))


def end_wave(ctx: RunContext, wave: Wave) -> None:
    """Record whether the gate of a wave has passed; once."""
    timing = ctx.run.waves[wave.number]
    if timing.state != "begun":
        return
    reason = stop_reason(ctx) or _past_budget(ctx)
    timing.state, timing.end = ("failed" if reason else "passed"), ctx.run.elapsed
    ctx.run.emit(WaveChanged(wave=wave.name, number=wave.number, state=timing.state, reason=reason or ""))
