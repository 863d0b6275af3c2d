"""The scripts that start, confirm and revert an activation on a target, and the parser of their output. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gofallback.release.agent_config import ACTIVATION, AGENT
from gofallback.release.agent_record import parse_record
from gofallback.release.state_script import ACTIVATING, activation_unit
from gofallback.untrusted_values import seconds

State = Literal["provisional", "confirmed", "reverted", "failed", "interrupted", "refused", "unknown"]
"""The agent's answer; `gofallback.rollout.phases.after_activation` has what each one means for a run."""
#: Exit status of the agent's `follow`, `confirm` and `revert` (docs/agent.md). With 0 the record distinguishes
#: `provisional` from `confirmed`.
STATES: Mapping[int, State] = {0: "confirmed", 3: "reverted", 4: "failed", 5: "interrupted", 6: "unknown", 2: "refused"}


@dataclass(frozen=True)
class ActivationOutcome:
    """The result of activating, confirming or reverting one release on one target."""

    state: State
    """`provisional`: live and healthy, reverted by the target at `deadline` unless confirmed; `reverted`: the previous
    release runs again, healthy; `failed`: no healthy release runs; `interrupted`: cut off, to be ended by the
    dead-man's switch, the next run or the next boot; `refused`: nothing was changed; `unknown`: no result from the
    target in time."""
    release: str
    previous: str | None = None
    """The release that was live before."""
    live: str | None = None
    """The release that is live now; None: none, or not known."""
    healthy: bool | None = None
    reason: str = ""
    """Why it is neither `provisional` nor `confirmed`; one line."""
    evidence: tuple[str, ...] = ()
    """Last log lines of the failed release."""
    seconds: float = 0.0
    """From start to outcome, by the target's clock."""
    run_id: str = ""
    """The run that started this activation; another run's if this one joined it."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """The agent's record (docs/agent.md)."""
    deadline: str = ""
    """While `provisional`: when the target reverts by itself (RFC 3339, by the target's clock; renewals of the run's
    lease extend it)."""
    silent: float = 0.0
    """While `unknown`: seconds without an answer from the target when the controller gave up."""

    @property
    def ends_alone(self) -> bool:
        """While `interrupted`: whether the dead-man's switch ends the activation; without a window there is none."""
        return self.state == "unknown" or self.record.get("confirm") is not None

    @property
    def ok(self) -> bool:
        """The desired release is live and healthy, confirmed or not yet."""
        return self.state in ("provisional", "confirmed")


@dataclass(frozen=True)
class Order:
    """One release of a service, and the run that activates, confirms or reverts it."""

    service: str
    """Name."""
    home: str
    """Root folder of the service (`Service.home`)."""
    release: str
    """Name of the release's folder."""
    run_id: str
    """The run that activates, or activated, the release; `[A-Za-z0-9._-]{1,80}`."""
    who: str
    """user@host of the controller."""
    fence: int = 0
    """Number of the run's lease; the target refuses if a later run has taken over. 0: not checked."""

    @property
    def folder(self) -> str:
        """Absolute path of the release."""
        return f"{self.home}/releases/{self.release}"


def start(
    order: Order,
    *,
    timeout: float,
    sha256: str | None = None,
    window: float = 0.0,
    reason: str = "",
    keep_failed: bool = False,
) -> str:
    """The script that starts an activation, or joins one of the same release in progress, and follows it.

    It may be repeated at any time, after any interruption. It prints ``join TAB run id``, ``refuse TAB why`` or
    nothing, then the lines of ``follow``.

    Args:
        order: the release, and the run that activates it.
        timeout: seconds that `follow` waits at most.
        sha256: of the binary; None: the one in the release's own manifest.
        window: seconds within which the release has to be confirmed; 0: no confirmation is required.
        reason: of the run, for the target's journal.
        keep_failed: keep a release that fails its gate.
    """
    quote = shlex.quote
    service, release = order.service, order.release
    unit = activation_unit(service)
    # manifest.json is indented by two spaces per level: the release's own values have two, those of its parts four
    expected = f"sum={sha256}" if sha256 else """sum=$(sed -nE 's/^  "sha256": "([0-9a-f]*)",?$/\\1/p' manifest.json)"""
    options = [*_given("fence", order.fence), *_given("window", window), *_given("reason", reason)]
    options += ["-keep-failed"] if keep_failed else []
    follow = f'"$agent" follow -service {quote(service)} -timeout {timeout:g} -run-id'
    return f"""{_HEAD}
release={quote(release)} own={quote(order.run_id)} agent={quote(f"{order.folder}/{AGENT}")}
cd {quote(order.folder)} 2>/dev/null || refuse "release $release is not on this target"
{_able_agent(order, "activate -h", "-window") if options else ":"}
what=$(systemctl show -p ActiveState -p Description {unit} | sort | tr '\\n' ' ')
case $what in ActiveState=active*|ActiveState=activating*|ActiveState=reloading*|ActiveState=deactivating*)
  what=${{what#*{ACTIVATING}}}; what=${{what% }}
  run=${{what#*, run }}
  case $what in "$release, run "*) printf 'join\\t%s\\n' "$run"; exec {follow} "$run";; esac
  refuse "an activation of release $what is under way; wait for it to end, or stop it: systemctl stop {unit}";; esac
{expected}
main=$(sed -nE 's/^    "binary": "([A-Za-z0-9._-]+)",?$/\\1/p' manifest.json)
found=$(sha256sum bin/${{main:-*}} | {{ read -r a b; echo "$a"; }})
[ "$found" = "$sum" ] ||
  refuse "the binary of release $release has sha256 $found, its manifest says $sum; upload it again"
sums=$(sed -nE 's#^    "((bin|lib|conf)/.*)": "([0-9a-f]{{64}})",?$#\\3  \\1#p' manifest.json)
[ -z "$sums" ] || out=$(printf '%s\\n' "$sums" | sha256sum --quiet -c 2>&1) ||
  refuse "release $release is not what its manifest says: $(printf %s "$out" | head -n 1); upload it again"
{_transient(service, unit, f"{ACTIVATING}{release}, run {order.run_id}")} \\
  "$agent" activate -plan {quote(f"{order.folder}/{ACTIVATION}")} -run-id "$own" -started-by {quote(order.who)} \\
  {shlex.join(options)} 2>&1) || {_UNSAID}
exec {follow} "$own"
"""


def confirm(order: Order, head: str = "") -> str:
    """The script that confirms a provisional release and prints the agent's record. It may be repeated.

    Args:
        order: the release, and the run that activated it.
        head: hash of the last line of the controller's journal, stored in the target's journal.
    """
    quote = shlex.quote
    service, run_id, who = quote(order.service), quote(order.run_id), quote(order.who)
    options = shlex.join([*_given("fence", order.fence), *_given("head", head)])
    return f"""{_HEAD}
release={quote(order.release)} agent={quote(f"{order.folder}/{AGENT}")}
{_able_agent(order, "confirm -h", "-head")}
exec "$agent" confirm -service {service} -run-id {run_id} -by {who} {options}
"""


def revert(order: Order, *, timeout: float, reason: str) -> str:
    """The script that reverts a provisional release in a unit of its own, and follows that. It may be repeated.

    Args:
        order: the release, and the run that activated it.
        timeout: seconds that `follow` waits at most.
        reason: one line.
    """
    quote = shlex.quote
    service, release, run_id = order.service, order.release, order.run_id
    unit = f"gofallback-revert-{service}.service"
    options = shlex.join(["-by", order.who, "-reason", reason, *_given("fence", order.fence)])
    return f"""{_HEAD}
release={quote(release)} own={quote(run_id)} agent={quote(f"{order.folder}/{AGENT}")}
{_able_agent(order, "revert -h", "-reason")}
case $(systemctl show -p ActiveState {unit}) in ActiveState=inactive|ActiveState=failed)
  {_transient(service, unit, f"Go back from release {release}, run {run_id}")} \\
    "$agent" revert -service {quote(service)} -run-id "$own" {options} 2>&1) ||
    {_UNSAID};; esac
exec "$agent" follow -final -service {quote(service)} -timeout {timeout:g} -run-id "$own"
"""


_HEAD = r"""export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
refuse() { printf 'refuse\t%s\n' "$1"; exit 2; }"""


def _given(name: str, value: float | str) -> list[str]:
    """A flag of the agent, or nothing if it has no value: agents of older releases do not know newer flags."""
    return [f"-{name}", str(value)] if value else []


def _able_agent(order: Order, command: str, flag: str) -> str:
    """Choose an agent that has a flag. The agent of an older release may not have it; then take the agent that armed
    the dead-man's switch, the live release's, or any agent that was ever uploaded here. The path is resolved, because
    `current` moves."""
    unit = shlex.quote(f"/etc/systemd/system/gofallback-deadman-{order.service}.service")
    live = shlex.quote(f"{order.home}/current/{AGENT}")
    return f"""able() {{ [ -x "$1" ] && "$1" {command} 2>&1 | grep -q -e {flag}; }}
armed=$(sed -n 's/^ExecStart="\\(.*\\)" deadman .*/\\1/p' {unit} 2>/dev/null)
able "$agent" || for agent in "$armed" "$(readlink -f {live})" {_AGENTS}/* ""; do
  ! able "$agent" || break; done
[ -n "$agent" ] ||
  refuse "release $release is not on this target, or its agent is too old (no {flag}); upload it again\""""


_AGENTS = "/opt/gofallback/agent"


def _transient(service: str, unit: str, description: str) -> str:
    """The start of `out=$(systemd-run ...`: the unit outlives the connection, and systemd restarts it if it is killed.

    The unit's name is a lock: systemd refuses a second unit of the same name.
    """
    properties = "-p KillMode=mixed -p Restart=on-abnormal -p RestartSec=100ms -p TimeoutStopSec=120"
    return (
        f"rm -f {_RUN}/{service}.refused\n"
        f"out=$(systemd-run --quiet --collect --unit={unit} --description={shlex.quote(description)} \\\n"
        f"  --service-type=exec {properties}"
    )


_RUN = "/run/gofallback"
#: Below systemd 256, systemd-run may report a program that refuses and ends at once as not started; with --quiet it
#: fails without a message (https://github.com/systemd/systemd/issues/28304). The agent's refusal file has the reason.
_UNSAID = """[ -z "$out" ] || refuse "systemd-run: $(printf %s "$out" | tail -n 1)\""""


def stage(line: str) -> tuple[str, float, str] | None:
    """Stage, seconds since the start and detail, parsed from a line of `follow`; None for any other line."""
    event = _object(line)
    if event.get("event") != "stage":
        return None
    return str(event.get("stage") or ""), seconds(event.get("elapsed")), str(event.get("detail") or "")


def outcome(order: Order, lines: list[str], code: int) -> ActivationOutcome:
    """Parse the output and the exit status of a script of this module.

    Args:
        order: the order of the script.
        lines: its output.
        code: its exit status.
    """
    refused = [line.partition("\t")[2] for line in lines if line.startswith("refuse\t")]
    objects = [_object(line) for line in lines]
    refused += [str(found.get("why") or "") for found in objects if found.get("event") == "refused"]
    record: Mapping[str, Any] = next((found for found in reversed(objects) if "state" in found), {})
    state = STATES.get(code, "unknown")
    if code == 0 and record.get("state") == "provisional":
        state = "provisional"
    last = _AGENT_SAYS.sub("", lines[-1]) if lines else f"exit status {code} without output"
    if refused or not record:
        return ActivationOutcome(state, order.release, reason=refused[0] if refused else last, run_id=order.run_id)
    good = state in ("provisional", "confirmed")
    return ActivationOutcome(
        state=state,
        release=str(record.get("release") or order.release),
        previous=record.get("previous"),
        live=record.get("runs_now"),
        healthy=record.get("healthy"),
        reason=str(record.get("reason") or "") or ("" if good else f"activation {state}"),
        evidence=tuple(str(line) for line in record.get("journal") or ())[-50:],
        seconds=_elapsed(record),
        run_id=str(record.get("run_id") or order.run_id),
        record=record,
        deadline=str((record.get("confirm") or {}).get("deadline") or "") if state == "provisional" else "",
    )


#: Prefix of the agent's own errors.
_AGENT_SAYS = re.compile(r"^gofallback-agent( \w+)?: ")


def _elapsed(record: Mapping[str, Any]) -> float:
    return max((seconds(value) for value in (record.get("timings") or {}).values()), default=0.0)


def _object(line: str) -> dict[str, Any]:
    return (parse_record(line) if line.startswith("{") else None) or {}
