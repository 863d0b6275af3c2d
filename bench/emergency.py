"""The product's own commands: provisioning, cold and warm builds, rollouts, and the run that changes nothing."""

from __future__ import annotations

from pathlib import Path

from bench.fleet import TARGETS, Done, Fleet
from bench.model import Figure, Findings, Goal
from bench.peers import Ansible, floor
from bench.repository import RELEASES
from gofallback.controller.store import ArtifactStore
from lab.cache import step

FEW = 2
NO_OP_TRIPS = 3
PART_OF_ANSIBLE = 1 / 8
TIMES_THE_FLOOR = 3.0


def provisioning(fleet: Fleet, findings: Findings, rounds: int, fresh_rounds: int) -> None:
    """Measure the first provisioning of a fresh Windows host, and the second one."""
    first: list[Done] = []
    for number in range(fresh_rounds):
        with step(f"first provisioning {number + 1}/{fresh_rounds}"):
            fleet.fresh([fleet.builder])
            first.append(fleet.run("standby"))
    with step(f"no-op provisioning, {rounds} times"):
        again = [fleet.run("standby") for _ in range(rounds)]
    findings.figures += [
        _figure("provision-first", "first provisioning of a Windows host (standby.py: Go and Git)", first),
        _figure("provision-again", "second provisioning, nothing to do", again),
    ]
    trips = max(run.round_trips for run in again)
    findings.goals.append(
        Goal("provision-trips", "round trips of a no-op provisioning", trips, NO_OP_TRIPS, "round trips")
    )


def builds(fleet: Fleet, findings: Findings, fresh_rounds: int) -> None:
    """Measure cold builds (fresh provisioned builder, empty store) and warm builds (the next small commits)."""
    cold: list[Done] = []
    for number in range(fresh_rounds):
        with step(f"cold build {number + 1}/{fresh_rounds}"):
            fleet.fresh([fleet.builder])
            fleet.forget("artifacts")
            fleet.run("standby")
            cold.append(fleet.run("drill", ref=RELEASES[0]))
    with step(f"warm builds, {len(RELEASES) - 1} commits"):
        warm = [fleet.run("drill", ref=tag) for tag in RELEASES[1:]]
    what = "one commit to verified artifacts on the controller (drill.py: source, build, verify)"
    findings.figures += [
        _figure("build-cold", f"cold build: {what}, service and agent", cold),
        Figure("build-cold-stage", "of that the build stage alone", [run.stage("build") for run in cold]),
        _figure("build-warm", "warm build: the same for the next small commit, service only", warm),
        Figure("build-warm-stage", "of that the build stage alone", [run.stage("build") for run in warm]),
    ]


def rollouts(fleet: Fleet, findings: Findings) -> Path:
    """Measure rollouts of new binaries to 2 and to 10 targets in turn; return the path of the newest binary."""
    with step(f"first release on {TARGETS} targets"):
        fleet.fresh(fleet.lab.targets)
        first = fleet.run("rollout", version=RELEASES[0])
    runs: dict[int, list[Done]] = {FEW: [], TARGETS: []}
    for number, version in enumerate(RELEASES[1:-1]):
        targets = FEW if number % 2 == 0 else TARGETS
        with step(f"rollout of {version} to {targets} targets"):
            runs[targets].append(fleet.run("rollout", targets=targets, version=version))
    binary = ArtifactStore(fleet.home / "artifacts").by_version("hello", RELEASES[-1])[0]
    size = f"{binary.manifest.size / 1e6:.1f} MB"
    wait = "includes the minimum healthy time of the canary and of the others, 2 s each"
    findings.figures.append(
        _figure("rollout-first", f"first rollout of {size} to {TARGETS} fresh targets", [first], wait)
    )
    for targets, done in runs.items():
        findings.figures.append(_figure(f"rollout-{targets}", f"rollout of {size} to {targets} targets", done, wait))
        release = Figure(
            f"rollout-{targets}-upload", "of that the upload, check and smoke test", [r.stage("release") for r in done]
        )
        findings.figures.append(release)
    return binary.path


def no_op(fleet: Fleet, findings: Findings, ansible: Ansible, rounds: int) -> None:
    """Measure `fallback.py`, the playbook and plain ssh on the same ten targets in turn. None changes anything."""
    with step("fallback.py and ansible, until nothing is left to do"):
        fleet.run("fallback")
        ansible.converge()
    ours: list[Done] = []
    cold: list[float] = []
    kept: list[float] = []
    plain: list[float] = []

    def short() -> None:
        # Several in a round: each takes a tenth of the playbook's time, so one disturbance weighs more.
        for turn in range(4):
            if turn % 2 == 0:
                ours.append(fleet.run("fallback", expect=["unchanged"]))
            plain.append(floor(fleet))
            if turn % 2 == 1:
                ours.append(fleet.run("fallback", expect=["unchanged"]))

    def playbook_twice() -> None:  # first on new connections, then on the same ones
        cold.append(ansible.no_op(keep_connections=False))
        kept.append(ansible.no_op(keep_connections=True))

    for number in range(rounds):
        with step(f"no-op runs {number + 1}/{rounds}"):
            for turn in (short, playbook_twice) if number % 2 == 0 else (playbook_twice, short):
                turn()
    mine = _figure("noop", f"fallback.py on {TARGETS} targets and a builder, nothing to do", ours)
    playbook = Figure("noop-ansible", f"the playbook (ansible-core {ansible.version}), nothing to do", cold)
    reused = Figure("noop-ansible-kept", "the playbook on connections kept from a run just before", kept)
    ssh = Figure("noop-floor", f"`ssh host true` on the {TARGETS} targets at once", plain)
    findings.figures += [mine, playbook, reused, ssh]
    findings.goals += [
        _ratio("noop-ansible", "no-op fallback.py, part of the playbook's time", mine, playbook, PART_OF_ANSIBLE),
        _ratio("noop-ansible-kept", "the same, the playbook's connections kept", mine, reused, PART_OF_ANSIBLE),
        _ratio("noop-floor", "no-op fallback.py, times the floor", mine, ssh, TIMES_THE_FLOOR),
    ]


def _figure(key: str, what: str, runs: list[Done], note: str = "") -> Figure:
    return Figure(key, what, [run.seconds for run in runs], runs[-1].round_trips, note)


def _ratio(key: str, what: str, ours: Figure, peer: Figure, limit: float) -> Goal:
    figures = f"{ours.median:.2f} s against {peer.median:.2f} s"
    return Goal(key, what, ours.median / peer.median, limit, "x", figures)
