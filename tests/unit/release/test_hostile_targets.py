"""A damaged or hostile target: reported in one line, and no value it sends ends the controller."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gofallback.lease import holder
from gofallback.release import activation
from gofallback.release.activation import Order
from gofallback.release.state_parser import StateError, parse
from tests.unit.services import service

HELLO = service()
RECORD = f"var/lib/gofallback/{HELLO.name}/outcome.json"
CLOCK = "clock\t1790000000\t5000.00"

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("state", "release", "previous", "runs_now", "healthy", "reason", "journal", "timings", "run_id", "confirm")
records = st.dictionaries(st.sampled_from([*KEYS, "event", "stage", "elapsed", "detail", "why"]), anything)
#: `²` is a digit for str.isdigit and none for int; longer numbers than 4300 digits are refused by int.
odd = st.sampled_from(["", "0", "7", "08", "-1", "²", "٣", "9" * 30, "9" * 5000, "nan", "inf", "1e400"])
word = odd | st.text(max_size=3)
deep = '{"state":' + "[" * 100_000


def row(*first: str) -> st.SearchStrategy[str]:
    return st.builds(lambda key, more: "\t".join([key, *more]), st.sampled_from(first), st.lists(word, max_size=9))


@given(st.lists(records.map(json.dumps) | st.just(deep) | st.text(max_size=30), max_size=4), st.integers(0, 7))
def test_whatever_an_agent_prints_is_an_outcome(lines: list[str], code: int) -> None:
    found = activation.outcome(Order("hello", "/opt/hello", "v2", "r1", "al@ctl"), lines, code)
    assert found.ok is (code == 0) and isinstance(found.seconds, float)
    for line in lines:
        activation.stage(line)


@given(st.lists(row("taken", "takeover", "busy", "fenced", "damaged", "error", "held"), max_size=4))
def test_whatever_a_lease_script_prints_is_an_answer(lines: list[str]) -> None:
    answer = holder.parse_result(lines)
    for name, found in answer.busy:
        assert holder.refusal(name, found)


@given(st.lists(word, max_size=6), st.lists(word, max_size=3), st.floats(0, 1e9))
def test_whatever_lies_in_the_files_of_a_lease_has_a_holder_or_none(
    file: list[str], renewed: list[str], up: float
) -> None:
    found = holder.parse_holder(file, renewed, up)
    assert found is None or holder.refusal("hello", found)


ROWS = row(
    *("libc", "unit", "files", "systemd", "free", "missing", "agent", "user", "sum", "mode"),
    *(f"{key}\t{HELLO.name}" for key in ("current", "release", "lease", "renewed", "history", "health")),
)


@settings(deadline=None)
@given(st.lists(ROWS, max_size=6))
def test_any_output_of_a_target_is_a_state_or_one_line(lines: list[str]) -> None:
    try:
        parse([CLOCK, *lines, "end"], [HELLO])
    except StateError as error:
        assert "\n" not in str(error)


def answer(files: dict[str, bytes]) -> list[str]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return [CLOCK, "files\t" + base64.b64encode(packed.getvalue()).decode(), "end"]


def test_an_archive_that_was_cut_or_changed_is_one_line() -> None:
    good = answer({RECORD: b'{"run_id":"r1","state":"confirmed"}'})
    assert parse(good, [HELLO]).services[HELLO.name].outcome == {"run_id": "r1", "state": "confirmed"}
    raw = base64.b64decode(good[1].partition("\t")[2])
    for at in range(len(raw)):
        for changed in (raw[:at], raw[:at] + bytes([raw[at] ^ 0xFF]) + raw[at + 1 :]):
            line = "files\t" + base64.b64encode(changed).decode()
            try:
                parse([CLOCK, line, "end"], [HELLO])
            except StateError as error:
                assert "\n" not in str(error)
    with pytest.raises(StateError):
        parse([CLOCK, "files\t" + base64.b64encode(gzip.compress(os.urandom(4096))).decode(), "end"], [HELLO])


def test_an_archive_that_would_fill_the_memory_is_refused() -> None:
    bomb = answer({f"{RECORD}{n}": bytes(1 << 20) for n in range(70)})
    with pytest.raises(StateError, match="larger than 64 MiB"):
        parse(bomb, [HELLO])


@pytest.mark.parametrize(
    "content",
    [deep.encode(), b"\x00" * 100, b"", b"[1]", b'{"state":' + b"9" * 5000 + b"}", b'{"state":[],"run_id":{"a":1}}'],
)
def test_a_record_that_is_none_is_no_record(content: bytes) -> None:
    found = parse(answer({RECORD: content}), [HELLO]).services[HELLO.name]
    assert not found.outcome and found.unconfirmed_run is None


OLD = "#!/bin/sh\necho 'gofallback-agent: expected one of: activate, check, follow, recover, version' >&2; exit 2\n"
NEW = """#!/bin/sh
[ "$2" != -h ] || { printf 'Usage of %s:\\n  -head string\\n  -reason string\\n  -window float\\n' "$1" >&2; exit 0; }
echo "$0 $*"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """v1 came with an agent that knows no window; v2 is live."""
    for release, text in {"v1": OLD, "v2": NEW}.items():
        agent = tmp_path / "releases" / release / "lib/gofallback-agent"
        agent.parent.mkdir(parents=True)
        agent.write_text(text)
        agent.chmod(0o755)
    (tmp_path / "current").symlink_to("releases/v2")
    return tmp_path


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)


def test_a_release_with_an_older_agent_is_confirmed_by_one_that_can(home: Path) -> None:
    order = Order("x-none", str(home), "v1", run_id="r1", who="al@ctl", fence=7)
    done = run(activation.confirm(order))
    assert (
        done.stdout
        == f"{home}/releases/v2/lib/gofallback-agent confirm -service x-none -run-id r1 -by al@ctl -fence 7\n"
    )
    (home / "current").unlink()
    (home / "current").symlink_to("releases/v1")
    done = run(activation.confirm(order))
    assert done.returncode == 2 and done.stdout.startswith(
        "refuse\trelease v1 is not on this target, or its agent is too old"
    )
