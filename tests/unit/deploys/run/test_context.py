"""Values that a run works out once, whoever needs them first."""

from __future__ import annotations

from pathlib import Path

import gevent
import pytest

from gofallback.deploys.run.context import Key
from tests.unit.contexts import run_context

NUMBER: Key[int] = Key("number")


def test_a_value_is_made_once_and_whoever_comes_meanwhile_waits_for_it(tmp_path: Path) -> None:
    ctx, made = run_context(tmp_path, "t1"), []

    def slow() -> int:
        made.append(1)
        gevent.sleep(0.01)
        return 7

    jobs = [gevent.spawn(ctx.once, NUMBER, slow) for _ in range(5)]
    gevent.joinall(jobs)
    assert [job.value for job in jobs] == [7] * 5 and len(made) == 1


def test_each_host_has_a_value_of_its_own(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1")
    assert [ctx.once(NUMBER(host), lambda size=size: size) for host, size in (("t1", 1), ("t2", 2), ("t1", 3))] == [  # type: ignore[misc]
        *(1, 2, 1),
    ]


def test_an_error_is_not_kept_and_the_next_one_tries_again(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1")

    def broken() -> int:
        raise OSError("not now")

    with pytest.raises(OSError):
        ctx.once(NUMBER, broken)
    assert ctx.once(NUMBER, lambda: 1) == 1


def test_none_is_a_value_like_any_other(tmp_path: Path) -> None:
    ctx, calls = run_context(tmp_path, "t1"), []
    key: Key[None] = Key("watched")
    for _ in range(2):
        ctx.once(key, lambda: calls.append(1))
    assert calls == [1]
