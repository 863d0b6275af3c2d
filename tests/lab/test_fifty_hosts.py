"""A rollout over many targets: wave by wave in the order that was said, all back when one is not well.

GOFALLBACK_TEST_TARGETS sets the number of targets; `make fifty` has fifty (docs/faults.md has what they take).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.ground import VERSIONS, Controller, Ground
from tests.lab.conftest import fresh_name

pytestmark = pytest.mark.lab

TARGETS = int(os.environ.get("GOFALLBACK_TEST_TARGETS", "24"))
OLD, NEW = VERSIONS
ROLLOUT: dict[str, Any] = {
    "canary": 2,
    "waves": ["10%", {"label": "region", "value": "eu"}, "50%"],
    "pause": 0,
    "parallel": 8,  # targets share the processors of one machine
    "confirm_window": 120,
    "lease_ttl": 60,
}
HEALTH = {"start_deadline": 40}
#: Every fourth target is in the region that has a wave of its own.
LABELS = {f"t{n}": {"target": {"labels": {"region": "eu" if n % 4 == 0 else "us"}}} for n in range(1, TARGETS + 1)}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    began = time.monotonic()
    made = Ground.up(fresh_name(), tmp_path_factory.mktemp("fifty"), targets=TARGETS)
    print(f"{TARGETS} targets up after {time.monotonic() - began:.1f} s")
    try:
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def on_old(ground: Ground) -> Ground:
    """The whole fleet on the old version."""
    began = time.monotonic()
    done = controller(ground, canary=0, waves=[]).run("rollout", version=OLD)
    print(f"first release on {TARGETS} targets at once: {time.monotonic() - began:.1f} s")
    assert done.code == 0, done.output
    assert answers(ground) == {f"ok {OLD}"}
    return ground


def controller(ground: Ground, **rollout: Any) -> Controller:
    made = ground.controller()
    made.rollout, made.hosts, made.hello = {**ROLLOUT, **rollout}, LABELS, {"health": HEALTH}
    return made


def answers(ground: Ground) -> set[str]:
    return {ground.answer(host) for host in ground.targets}


def journal(of: Controller) -> list[dict[str, Any]]:
    file: Path = of.runs()[-1] / "journal.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def expected_waves() -> list[list[str]]:
    """Two canaries, then up to a tenth of all, then the region, then up to the half of all, then the rest."""
    left = [f"t{n}" for n in range(1, TARGETS + 1)]
    waves = [left[:2]]
    waves.append(left[2 : max(2, -(-TARGETS // 10))])
    done = {name for wave in waves for name in wave}
    waves.append([name for name in left if name not in done and LABELS[name]["target"]["labels"]["region"] == "eu"])
    done |= set(waves[-1])
    waves.append([name for name in left if name not in done][: max(0, -(-TARGETS // 2) - len(done))])
    done |= set(waves[-1])
    waves.append([name for name in left if name not in done])
    return [wave for wave in waves if wave]


def test_one_unhealthy_target_in_a_late_wave_takes_all_of_them_back(on_old: Ground) -> None:
    """The new release wants another port, and on one target of the third wave somebody has it."""
    third = expected_waves()[2]
    taken = on_old.lab.host(third[len(third) // 2])
    taken.run(
        "systemd-run --quiet --collect --unit=squatter --setenv=HELLO_ADDR=:9191 --setenv=HELLO_FAULT=unhealthy "
        "/opt/hello/current/bin/hello"
    )
    mover = controller(on_old)
    mover.hello = {
        "unit": {"environment": {"HELLO_ADDR": ":9191"}},
        "port": 9191,
        "health": {**HEALTH, "check": {"type": "http", "url": "http://127.0.0.1:9191/healthz", "body": "^ok"}},
    }
    began = time.monotonic()
    done = mover.run("rollout", version=NEW)
    print(f"{len(expected_waves())} waves, stopped in the third and all back: {time.monotonic() - began:.1f} s")
    assert done.code == 3, done.output
    assert answers(on_old) == {f"ok {OLD}"}
    rows = {row["host"]: row for row in mover.report()["targets"]}
    assert rows[taken.name]["outcome"] == "reverted" and rows[taken.name]["reason"]
    switched = {name for wave in expected_waves()[:3] for name in wave}
    assert {name for name, row in rows.items() if row["outcome"] == "reverted"} <= switched
    assert {name for name, row in rows.items() if row["outcome"] == "untouched"} >= set(rows) - switched
    taken.run("systemctl stop squatter")


def test_the_waves_go_in_the_order_that_was_said_and_a_second_run_changes_nothing(on_old: Ground) -> None:
    first = controller(on_old)
    began = time.monotonic()
    done = first.run("rollout", version=NEW)
    print(f"rollout over {TARGETS} targets: {time.monotonic() - began:.1f} s")
    assert done.code == 0, done.output
    assert answers(on_old) == {f"ok {NEW}"}
    events = journal(first)
    begun = [event["hosts"] for event in events if event["event"] == "wave" and event["state"] == "begun"]
    assert begun == expected_waves()
    place = {name: number for number, wave in enumerate(begun) for name in wave}
    order = [place[event["host"]] for event in events if event["event"] == "intended"]
    assert order == sorted(order) and len(order) == TARGETS
    again = controller(on_old)
    began = time.monotonic()
    done = again.run("rollout", version=NEW)
    print(f"nothing to do on {TARGETS} targets: {time.monotonic() - began:.1f} s")
    assert done.code == 0, done.output
    assert again.report()["verdict"] == "unchanged"
