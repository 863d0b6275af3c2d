"""What must hold after every cell, whatever befell it; each check returns one line, or nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gofallback.rollout.phases import GOOD, OPEN
from lab.linux.host import LinuxHost
from tests.faults.ground import SERVICE, TTL, Controller, Ground
from tests.faults.model import Command

ZERO = "0" * 64


@dataclass
class Evidence:
    """All that a cell leaves behind."""

    ground: Ground
    old: str
    new: str
    commands: list[Command]
    """In the order they ended; those of a rival apart."""
    rival: Command | None
    at_end: dict[str, str]
    """Versions when the last command ended."""
    report: dict[str, Any]
    """Of the last command that wrote one."""
    controllers: list[Controller]

    @property
    def last(self) -> Command:
        """The command that has the last word."""
        return self.commands[-1]

    @property
    def final(self) -> dict[str, str]:
        """Versions now."""
        return self.ground.versions()


def check(found: Evidence) -> dict[str, str]:
    """Every invariant that does not hold, with what is wrong."""
    problems = {
        "good": _good(found),
        "one": _one(found),
        "lease": _lease(found.ground),
        "status": _status(found),
        "journal": _journals(found),
    }
    return {name: line for name, line in problems.items() if line}


def _good(found: Evidence) -> str:
    wrong = []
    for host in found.ground.targets:
        version = found.ground.version(host)
        said = _patient(found.ground, host, f"ok {version}")
        if version not in (found.old, found.new) or said != f"ok {version}":
            wrong.append(f"{host.name}: {version or 'no release'} is live, it says: {said}")
        elif left := _left(host):
            wrong.append(f"{host.name}: {left} is still there")
        elif (state := found.ground.record(host).get("state")) not in ("confirmed", "reverted", "activated"):
            wrong.append(f"{host.name}: its record says {state}")
    return "; ".join(wrong)


def _patient(ground: Ground, host: LinuxHost, wanted: str) -> str:
    end = time.monotonic() + 5
    while (said := ground.answer(host)) != wanted and time.monotonic() < end:
        time.sleep(0.2)
    return said


def _left(host: LinuxHost) -> str:
    """Units that are there only while an activation is not finished."""
    return " ".join(sorted(path.name for path in (host.root / "etc/systemd/system").glob(f"gofallback-*-{SERVICE}.*")))


def _one(found: Evidence) -> str:
    """Exactly: a target the report says nothing against runs what it says; one it speaks against has a reason."""
    final = found.final
    rows = {row["host"]: row for row in found.report.get("targets", [])}
    if len(set(final.values())) == 1 and (not rows or found.last.code == 2):
        return ""
    wrong = [line for name, version in final.items() if (line := _misnamed(rows.get(name), name, version))]
    if (
        len(set(final.values())) > 1
        and len(rows) == len(final)
        and all(row["outcome"] in GOOD for row in rows.values())
    ):
        wrong.append("the report names none of them")
    return f"{_kinds(final)}: {'; '.join(wrong)}" if wrong else ""


def _misnamed(row: dict[str, Any] | None, name: str, version: str) -> str:
    if row is None:
        return f"{name} is not in the report"
    expected = row["release"] if row["outcome"] in GOOD else row["previous"] if row["outcome"] == "reverted" else ""
    if expected and not expected.startswith(f"{version}-"):
        return f"{name} runs {version}, the report says {row['outcome']}: {expected}"
    if row["outcome"] not in GOOD and not row["reason"]:
        return f"{name}: the report says {row['outcome']}, and not why"
    return ""


def _kinds(versions: dict[str, str]) -> str:
    kinds = sorted(set(versions.values()))
    return ", ".join(
        f"{kind or 'nothing'} on {' '.join(n for n, v in versions.items() if v == kind)}" for kind in kinds
    )


def _lease(ground: Ground) -> str:
    """Nobody is at work any more: a lease that is not given back has to end by itself, renewed by nobody."""
    end = time.monotonic() + TTL + 2
    while (held := _all_held(ground)) and time.monotonic() < end:
        time.sleep(0.3)
    return "; ".join(held)


def _all_held(ground: Ground) -> list[str]:
    held = [f"{host.name}: {line}" for host in ground.targets if (line := _held(host))]
    return held + [f"etcd: {key} is still held" for key in (ground.etcd.contents() if ground.etcd else ())]


def _held(host: LinuxHost) -> str:
    try:
        number, run, who, _, ttl = (host.root / "var/lib/gofallback" / SERVICE / "lease").read_text().split("\t")
    except (OSError, ValueError):
        return ""
    if not run:
        return ""
    seen = host.run(f"cat /run/gofallback/{SERVICE}.renewed 2>/dev/null; cut -d' ' -f1 /proc/uptime", check=False)
    lines = seen.stdout.split("\n")
    uptime = float(lines[-2])
    renewed = lines[0].split("\t") if len(lines) > 2 else []
    free = uptime - float(renewed[1]) >= float(ttl) if renewed and renewed[0] == number else uptime >= float(ttl)
    return "" if free else f"lease {number} of {run} ({who}) is still being renewed"


def _status(found: Evidence) -> str:
    """The last command's status, and a rival's; one that was killed has none of its own."""
    said = [_truth(found, found.last)]
    if found.rival is not None and found.rival.code == 0 and set(found.final.values()) != {found.old}:
        said.append(f"{found.rival.what}: exit status 0, but {_kinds(found.final)}")
    every = [*found.commands, *([found.rival] if found.rival else [])]
    said += [f"{command.what}: a traceback" for command in every if "Traceback" in command.output]
    return "; ".join(line for line in said if line)


def _truth(found: Evidence, command: Command) -> str:
    """Does an exit status (docs/exit-status.md) say what the targets run, and the report what they are?"""
    final, wanted = found.final, found.old if "abort=" in command.what else found.new
    outcomes = {row["outcome"] for row in found.report.get("targets", [])}
    live = outcomes & GOOD
    right = {
        0: set(final.values()) == set(found.at_end.values()) == {wanted},
        2: set(final.values()) == {found.old},
        3: set(final.values()) == {found.old} and outcomes <= {"reverted", "untouched"},
        4: not live and bool(outcomes & {"failed", *OPEN}),
        5: bool(live and outcomes - live),
    }
    if right.get(command.code):
        return ""
    return f"{command.what}: exit status {command.code}, but {_kinds(final)}; the report: {' '.join(sorted(outcomes))}"


def _journals(found: Evidence) -> str:
    lines = []
    for controller in found.controllers:
        for run in controller.runs():
            lines.append(_verify(run / "journal.jsonl"))
    for host in found.ground.targets:
        part = host.root / "var/lib/gofallback" / SERVICE / "journal.jsonl"
        if part.exists():
            lines.append(_chain(part, f"{host.name}'s journal"))
    return "; ".join(line for line in lines if line)


def _verify(path: Path) -> str:
    """By the product's command, and by the few lines that docs/journal.md says are enough."""
    if not path.exists():  # a refused run wrote nothing anywhere; a continued one writes where the first part did
        return (
            "" if list(path.parent.parent.glob("*/journal.jsonl")) or _refused(path.parent) else f"{path}: is not there"
        )
    if problem := _chain(path, f"journal of {path.parent.name}"):
        return problem
    command = [str(Path(sys.executable).with_name("gofallback")), "journal", "verify", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip().splitlines()
    return "" if done.returncode == 0 else f"gofallback journal verify: {said[-1] if said else done.returncode}"


def _refused(run: Path) -> bool:
    try:
        return bool(json.loads((run / "report.json").read_text())["verdict"] == "refused")
    except (OSError, ValueError):
        return False


def _chain(path: Path, name: str) -> str:
    """The chain, but for lines that a power cut tore: the line after one says so."""
    before, number = ZERO, 0
    lines = [line for line in path.read_bytes().split(b"\n") if line]
    for place, line in enumerate(lines):
        head, mark, tail = line.rpartition(b',"hash":"')
        digest = hashlib.sha256(head).hexdigest()
        try:
            stated = json.loads(line)
        except ValueError:
            if place + 1 < len(lines) and b'"torn":true' in lines[place + 1]:
                continue
            return f"{name}: line {place + 1} is torn"
        number += 1
        if not mark or tail != digest.encode() + b'"}' or stated["prev"] != before or stated["seq"] != number:
            return f"{name}: line {place + 1} does not fit the chain"
        before = digest
    return ""
