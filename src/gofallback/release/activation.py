"""The script that starts an activation on a target, or joins one, and the reader of what it tells. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gofallback.release.agentfiles import ACTIVATION, AGENT
from gofallback.release.probe import ACTIVATING, RECORDS, activation_unit

State = Literal["confirmed", "reverted", "failed", "interrupted", "refused", "unknown"]
#: Exit status of the agent's `follow` (docs/agent.md).
STATES: Mapping[int, State] = {0: "confirmed", 3: "reverted", 4: "failed", 5: "interrupted", 6: "unknown", 2: "refused"}


@dataclass(frozen=True)
class ActivationOutcome:
    """What became of one release on one target."""

    state: State
    """`reverted`: the release before runs again, healthy; `failed`: nothing healthy runs; `interrupted`: cut off, the
    next run or the next boot goes back; `refused`: nothing was changed; `unknown`: the target did not tell in time."""
    release: str
    previous: str | None = None
    """The release that was live before."""
    live: str | None = None
    """The release that is live now; None: nothing, or not known."""
    healthy: bool | None = None
    reason: str = ""
    """Why it is not `confirmed`; one line."""
    evidence: tuple[str, ...] = ()
    """Last journal lines of the failed attempt."""
    seconds: float = 0.0
    """From start to outcome, as the target's own clock counted."""
    run_id: str = ""
    """The run whose activation this was: another one's when it was joined."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """The agent's record (docs/agent.md)."""

    @property
    def ok(self) -> bool:
        """The wanted release is live and healthy."""
        return self.state == "confirmed"


def start(service: str, home: str, release: str, *, run_id: str, who: str, timeout: float, sha256: str | None) -> str:
    """The script: starts the activation unless this run's is there already, then follows it.

    May be run again at any time, after any interruption. Prints ``join TAB run id``, ``refuse TAB why`` or nothing,
    then the lines of ``follow``.

    Args:
        service: name.
        home: root folder of the service.
        release: name of the release's folder.
        run_id: of this run.
        who: user@host of the controller.
        timeout: seconds `follow` waits at most.
        sha256: what the binary must be; None: what the release's own manifest says.
    """
    quote = shlex.quote
    folder = f"{home}/releases/{release}"
    unit = activation_unit(service)
    expected = (
        f"sum={sha256}" if sha256 else ('sum=$(sed -n \'s/.*"sha256": *"\\([0-9a-f]*\\)".*/\\1/p\' manifest.json)')
    )
    follow = f"{quote(f'{folder}/{AGENT}')} follow -service {quote(service)} -timeout {timeout:g} -run-id"
    properties = "-p KillMode=mixed -p Restart=on-abnormal -p RestartSec=100ms -p TimeoutStopSec=120"
    return f"""export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
refuse() {{ printf 'refuse\\t%s\\n' "$1"; exit 2; }}
release={quote(release)} own={quote(run_id)}
cd {quote(folder)} 2>/dev/null || refuse "release $release is not on this target"
grep -q "\"run_id\": *\"$own\"" {RECORDS}/{service}/outcome.json 2>/dev/null && exec {follow} "$own"
what=$(systemctl show -p ActiveState -p Description {unit} | sort | tr '\\n' ' ')
case $what in ActiveState=active*|ActiveState=activating*|ActiveState=reloading*|ActiveState=deactivating*)
  what=${{what#*{ACTIVATING}}}; what=${{what% }}
  run=${{what#*, run }}
  case $what in "$release, run "*) printf 'join\\t%s\\n' "$run"; exec {follow} "$run";; esac
  refuse "an activation of release $what is under way; wait for it to end, or stop it: systemctl stop {unit}";; esac
{expected}
found=$(sha256sum bin/* | {{ read -r a b; echo "$a"; }})
[ "$found" = "$sum" ] ||
  refuse "the binary of release $release has sha256 $found, its manifest says $sum; upload it again"
out=$(systemd-run --quiet --collect --unit={unit} --description={quote(f"{ACTIVATING}{release}, run {run_id}")} \\
  --service-type=exec {properties} {quote(f"{folder}/{AGENT}")} activate -plan {quote(f"{folder}/{ACTIVATION}")} \\
  -run-id "$own" -started-by {quote(who)} 2>&1) || refuse "systemd-run: $(printf %s "$out" | tail -n 1)"
exec {follow} "$own"
"""


def stage(line: str) -> tuple[str, float, str] | None:
    """Stage, seconds since the start and detail of a line of `follow`; None for any other line."""
    event = _object(line)
    if event.get("event") != "stage":
        return None
    return str(event.get("stage", "")), float(event.get("elapsed") or 0.0), str(event.get("detail") or "")


def outcome(release: str, run_id: str, lines: list[str], code: int) -> ActivationOutcome:
    """What the script's output and exit status say.

    Args:
        release: the wanted one.
        run_id: of this run.
        lines: everything it printed.
        code: its exit status.
    """
    refused = [line.partition("\t")[2] for line in lines if line.startswith("refuse\t")]
    record: Mapping[str, Any] = next((found for line in reversed(lines) if "state" in (found := _object(line))), {})
    state = STATES.get(code, "unknown")
    last = lines[-1] if lines else f"exit status {code} without a word"
    if refused or not record:
        return ActivationOutcome(state, release, reason=refused[0] if refused else last, run_id=run_id)
    return ActivationOutcome(
        state=state,
        release=str(record.get("release") or release),
        previous=record.get("previous"),
        live=record.get("runs_now"),
        healthy=record.get("healthy"),
        reason=str(record.get("reason") or "") or ("" if state == "confirmed" else f"activation {state}"),
        evidence=tuple(str(line) for line in record.get("journal") or ())[-50:],
        seconds=_elapsed(record),
        run_id=str(record.get("run_id") or run_id),
        record=record,
    )


def _elapsed(record: Mapping[str, Any]) -> float:
    times = [value for value in (record.get("timings") or {}).values() if isinstance(value, (int, float))]
    return max((float(value) for value in times), default=0.0)


def _object(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {}
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
