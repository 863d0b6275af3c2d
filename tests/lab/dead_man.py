"""A target on which a release waits to be confirmed, and what may befall it meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

from tests.lab.agent_target import AGENT, AgentTarget, service

RUN = "20261122T031244Z-9f3a"
OTHER = "20261122T041244Z-0001"
STATE = "/var/lib/gofallback/hello"


def slack() -> float:
    """Seconds a target may take to go back beyond its window: 2, and more on a machine that is busy otherwise."""
    return 2 + max(0.0, os.getloadavg()[0] / (os.cpu_count() or 1) - 2)


def provisional(target: AgentTarget, window: float, flags: str = "", **changes: Any) -> dict[str, Any]:
    """Switch to v2, which then waits to be confirmed."""
    code, record = target.activate(target.release("v2", service(**changes)), RUN, f"-window {window:g} {flags}")
    assert (code, record["state"], record["stage"]) == (0, "provisional", "confirm"), record
    assert target.current() == "v2" and target.answers().startswith("ok")
    return record


def final(target: AgentTarget, seconds: float, run_id: str = RUN) -> tuple[int, dict[str, Any]]:
    """Wait for the run's end: exit status of `follow -final`, record."""
    done = target.host.run(f"{AGENT} follow -final -service hello -run-id {run_id} -timeout {seconds}", check=False)
    assert done.stdout, f"{done.returncode}: {done.stderr}"
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def decide(target: AgentTarget, command: str, flags: str = "", run_id: str = RUN) -> subprocess.CompletedProcess[str]:
    """Run `confirm` or `revert` directly."""
    reason = "-reason 'asked for'" if command == "revert" else ""
    return target.host.run(f"{AGENT} {command} -service hello -run-id {run_id} {reason} {flags}", check=False)


def journal(target: AgentTarget) -> list[dict[str, Any]]:
    """The host's journal; each line's hash and its link to the line before are checked with sha256sum."""
    assert target.sh(f"stat -c %a {STATE}/journal.jsonl") == "600"
    lines = target.sh(VERIFY).splitlines()
    assert lines[-1] == "whole", lines
    return [json.loads(line) for line in lines[:-1]]


VERIFY = f"""prev=$(printf '%064d' 0); seq=0
while IFS= read -r line; do
  head=${{line%',"hash":"'*}}; hash=${{line##*',"hash":"'}}; hash=${{hash%'"}}'}}; seq=$((seq+1))
  [ "$(printf %s "$head" | sha256sum | cut -c 1-64)" = "$hash" ] || {{ echo "hash of $line"; exit; }}
  case $head in '{{"prev":"'$prev'","seq":'$seq',"at":"'*) ;; *) echo "chain at $line"; exit;; esac
  prev=$hash; printf '%s\\n' "$line"
done < {STATE}/journal.jsonl; echo whole"""


def events(target: AgentTarget, run_id: str = RUN) -> list[str]:
    return [line["event"] for line in journal(target) if line["run"] == run_id]


def assert_v1_is_back(target: AgentTarget, before: dict[str, str]) -> None:
    assert target.current() == "v1" and target.answers().startswith("ok")
    assert target.units() == before, "unit files, timer and links are as they were"
    states = "active,activating,deactivating,failed"
    assert (
        target.sh(f"systemctl list-units --no-legend --plain --state={states} 'gofallback-*hello*'", check=False) == ""
    )
    assert target.sh(f"cat {STATE}/last-known-good") == "v1"
    assert target.sh("ls -A /opt/hello /etc/systemd/system | grep spare", check=False) == ""


def hold_lease(target: AgentTarget, run_id: str, number: int = 5) -> None:
    """What a controller keeps on the target: its lease, renewed every half second until `drop_lease`."""
    target.sh(f"printf '{number}\\t{run_id}\\tal@ctl\\t2026-11-22T03:12:44Z\\t30\\n' > {STATE}/lease")
    target.host.put("/root/renew", RENEW.replace("NUMBER", str(number)).encode(), 0o755)
    target.sh("systemd-run --quiet --collect --unit=renewals /root/renew; sleep 0.2")


RENEW = """#!/bin/sh
mkdir -p /run/gofallback
while read -r up rest </proc/uptime; do
  printf 'NUMBER\\t%s\\n' $up >/run/gofallback/.r
  mv /run/gofallback/.r /run/gofallback/hello.renewed
  sleep 0.5
done
"""


def drop_lease(target: AgentTarget) -> None:
    target.sh("systemctl stop renewals; rm -f /run/gofallback/hello.renewed", check=False)


def go_down(target: AgentTarget, how: str) -> None:
    """Reboot or cut the power, and wait until the host and its service are up again."""
    target.go_down(how)
    end = time.monotonic() + 10
    while not target.answers() and time.monotonic() < end:
        time.sleep(0.1)


# Kills the agent with SIGKILL as soon as its record says that it goes back.
KILLER = """#!/bin/bash
rm -f /root/killed
record=/var/lib/gofallback/hello/outcome.json
for ((i = 0; i < 200000; i++)); do
  read -r -d '' text < $record
  if [[ $text == *'"stage": "restore",
 "stages"'* && $text =~ \\"pid\\":\\ ([0-9]+) ]]; then
    kill -9 "${BASH_REMATCH[1]}"; echo restore > /root/killed; exit
  fi
done
"""
