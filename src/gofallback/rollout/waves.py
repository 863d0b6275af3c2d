"""Which targets get a release when: canaries, then waves. Pure. The order of the inventory is kept."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gofallback.errors import GofallbackError
from gofallback.model.rollout import LabelWave, Rollout


class WaveError(GofallbackError):
    """Waves that these targets do not allow; one line."""


@dataclass(frozen=True)
class Member:
    """One target, with what decides its wave."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    canary: bool = False
    """`target.canary`."""


@dataclass(frozen=True)
class Wave:
    """Targets that are switched together."""

    number: int
    """Place among the waves, from 0."""
    name: str
    """`canary`, `wave 2`, `wave 3 (region eu)`, or `all` for the only wave."""
    hosts: tuple[str, ...]
    canary: bool = False


def plan(members: Sequence[Member], strategy: Rollout, known: Collection[str] = ()) -> tuple[Wave, ...]:
    """The waves of a rollout; every member is in exactly one.

    A percentage is of all members, cumulative, with the canaries, rounded up. A count is of further members. Members in
    no other wave are the last wave. Waves without a member are left out.

    Args:
        members: the targets of this run, in inventory order.
        strategy: group data.
        known: names of all targets of the inventory, also those that `--limit` leaves out.

    Raises:
        WaveError: a canary that is no target; or a label or value that no target has, unless `--limit` left some out.
    """
    canaries = _canaries(members, strategy, {*known, *(member.name for member in members)})
    groups: list[tuple[str, tuple[str, ...]]] = [("canary", canaries)] if canaries else []
    left = [member for member in members if member.name not in set(canaries)]
    for wave in strategy.waves:
        if isinstance(wave, LabelWave) and {*known} <= {member.name for member in members}:
            _check_label(wave, members)
        for note, hosts in list(_members_of(wave, left, members)):
            groups.append((note, tuple(hosts)))
            left = [member for member in left if member.name not in set(hosts)]
    groups.append(("", tuple(member.name for member in left)))
    return _named([(note, hosts) for note, hosts in groups if hosts])


def _canaries(members: Sequence[Member], strategy: Rollout, known: Collection[str]) -> tuple[str, ...]:
    names = [member.name for member in members]
    marked = [member.name for member in members if member.canary]
    if isinstance(strategy.canary, list):
        for name in strategy.canary:
            if name not in known:
                raise WaveError(f"rollout.canary: no target is called {name!r}; there are {', '.join(sorted(known))}")
        return tuple(name for name in strategy.canary if name in names)
    if strategy.canary is None:
        return tuple(marked or (names[:1] if len(names) > 1 else ()))
    return tuple([*marked, *(name for name in names if name not in marked)][: strategy.canary])


def _members_of(
    wave: int | str | LabelWave, left: Sequence[Member], members: Sequence[Member]
) -> Iterator[tuple[str, list[str]]]:
    if isinstance(wave, LabelWave):
        yield from _labelled(wave, left)
    elif isinstance(wave, int):
        yield "", [member.name for member in left[:wave]]
    else:
        share = math.ceil(len(members) * int(wave.removesuffix("%")) / 100)
        done = len(members) - len(left)
        yield f"to {wave}", [member.name for member in left[: max(0, share - done)]]


def _check_label(wave: LabelWave, members: Sequence[Member]) -> None:
    values = _first_seen(members, wave.label)
    if members and not values:
        raise WaveError(f"rollout.waves: no target has the label {wave.label!r}; set target.labels, or mend its name")
    if members and wave.value is not None and wave.value not in values:
        raise WaveError(
            f"rollout.waves: no target has {wave.label} {wave.value!r}; there are {', '.join(sorted(values))}"
        )


def _labelled(wave: LabelWave, left: Sequence[Member]) -> Iterator[tuple[str, list[str]]]:
    values = [wave.value] if wave.value is not None else _first_seen(left, wave.label)
    for value in values:
        yield f"{wave.label} {value}", [member.name for member in left if member.labels.get(wave.label) == value]


def _first_seen(members: Iterable[Member], label: str) -> list[str]:
    return list(dict.fromkeys(member.labels[label] for member in members if label in member.labels))


def _named(groups: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[Wave, ...]:
    if len(groups) == 1 and groups[0][0] != "canary":
        return (Wave(0, "all", groups[0][1]),)
    waves, number = [], 0
    for place, (note, hosts) in enumerate(groups):
        if note == "canary":
            waves.append(Wave(place, "canary", hosts, canary=True))
            continue
        number += 1
        waves.append(Wave(place, f"wave {number}" + (f" ({note})" if note else ""), hosts))
    return tuple(waves)
