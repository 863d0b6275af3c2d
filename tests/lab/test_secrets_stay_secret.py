"""A canary in every place that takes a secret; then everything that was written anywhere is searched for them."""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fleet import Fleet, Result

pytestmark = pytest.mark.lab

#: One for each place, so that a leak names where it came from.
CANARIES = {
    place: f"canary{place}0123456789"
    for place in (
        *("environment", "authorization", "header", "repository", "reason", "freeze", "glass"),
        *("sshpassword", "sudopassword", "etcd"),
    )
}
#: Files that exist to hold a secret, and what they may hold.
HOLDERS = re.compile(r"^/opt/hello/releases/[^/]+/conf/(environment|health\.json)$")
HELD = ("environment", "authorization", "header")
SEARCHED = "/etc /home /opt /root /run /srv /tmp /usr/local /var"
SAMPLER = (
    "while :; do for one in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $one; echo; done; sleep 0.05; done "
    "2>/dev/null | grep --line-buffered canary >> /dev/shm/arguments"
)
DEPLOYS = ("rollout", "rollback", "status")


def data(**hello: Any) -> dict[str, Any]:
    """Group data with all the canaries that a run can have."""
    environment = {"HELLO_ADDR": ":8080", "DB_PASSWORD": CANARIES["environment"], **hello.pop("environment", {})}
    check = {
        "type": "http",
        "url": "http://127.0.0.1:8080/healthz",
        "body": "^ok",
        "headers": {"Authorization": f"Bearer {CANARIES['authorization']}", "X-Api-Key": CANARIES["header"]},
    }
    connection = {"ssh_password": CANARIES["sshpassword"], "_sudo_password": CANARIES["sudopassword"]}
    return {
        "hello": {"unit": {"environment": environment}, "health": {"check": check}, **hello},
        "repository": f"https://{CANARIES['repository']}@git.example.com/hello.git",
        "hosts": {"t1": connection, "t2": connection},
        "rollout": {"confirm_window": 10, "lease_ttl": 6},
    }


@pytest.fixture(scope="module")
def made(stocked: Fleet) -> Fleet:
    for target in stocked.lab.targets:
        target.run(f"systemd-run --collect --unit=sampler /bin/sh -c {quoted(SAMPLER)}")
    return stocked


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def found_in(text: str) -> set[str]:
    """Places whose canary stands in a text, as it is or as part of an address."""
    whole = text + urllib.parse.unquote(text)
    return {place for place, canary in CANARIES.items() if canary in whole}


def assert_home_is_clean(fleet: Fleet) -> None:
    """Everything below the controller's home, but for the group data that this test itself lays there."""
    for path in sorted(fleet.home.rglob("*")):
        if path.is_file() and not path.name.startswith("data-"):
            assert not found_in(path.read_bytes().decode("utf-8", "replace")), path


def assert_targets_are_clean(fleet: Fleet) -> None:
    for target in fleet.lab.targets:
        names = target.run(f"grep -rlas -e canary {SEARCHED} --exclude-dir=journal || true").stdout.split()
        for name in names:
            said = target.run(f"cat {name}").stdout
            if HOLDERS.match(name):
                assert found_in(said) <= set(HELD), name
                assert target.run(f"stat -c '%a %U %G' {name}").stdout.strip() == "600 root root", name
            else:
                assert not found_in(said), f"{target.name}:{name}: {found_in(said)}"
        assert not found_in(target.run("journalctl --no-pager -o export | cat").stdout), target.name
        assert not found_in(target.run("cat /dev/shm/arguments 2>/dev/null || true").stdout), target.name


def assert_clean(fleet: Fleet, result: Result) -> None:
    leaks = [line for line in result.output.splitlines() if found_in(line)]
    assert not leaks, leaks[:5]
    assert_home_is_clean(fleet)
    assert_targets_are_clean(fleet)


def reason(name: str) -> str:
    return f"the token={CANARIES[name]} of the ticket"


def test_the_search_finds_what_it_looks_for(made: Fleet) -> None:
    target, canary = made.lab.host("t1"), CANARIES["etcd"]
    target.run(f"systemd-cat echo {canary}; sh -c 'sleep 0.5; : {canary}'; echo {canary} > /tmp/x")
    try:
        with pytest.raises(AssertionError, match="/tmp/x"):
            assert_targets_are_clean(made)
        target.run("rm /tmp/x")
        with pytest.raises(AssertionError):
            assert_targets_are_clean(made)
        assert found_in(target.run("cat /dev/shm/arguments").stdout) == {"etcd"}
        assert found_in(target.run("journalctl --no-pager -o export | cat").stdout) == {"etcd"}
    finally:
        target.run("rm -f /tmp/x /dev/shm/arguments; journalctl -q --rotate; journalctl -q --vacuum-time=1us")


def test_a_rollout_and_one_that_fails_leave_no_secret_anywhere(made: Fleet) -> None:
    words = ("-vvv", "--data", f"reason={reason('reason')}")
    good = made.run("rollout", *words, "--data", "version=v1.0.0", data=data())
    assert good.code == 0, good.output
    assert_clean(made, good)
    shown = made.run(
        "rollout", *words, "--dry", "--diff", "--data", "version=v1.1.0", data=data(environment={"API_TOKEN": "other"})
    )
    assert_clean(made, shown)
    # the service itself says its secret as it dies, and its last words are part of the report
    bad = made.run("rollout", *words, "--data", "version=v1.1.0", data=data(environment={"HELLO_FAULT": "crash"}))
    assert bad.code == 3, bad.output
    assert_clean(made, bad)
    for deploy in ("status", "rollback"):
        assert_clean(made, made.run(deploy, "-vvv", data=data()))


def test_runs_that_are_refused_do_not_quote_secrets(made: Fleet) -> None:
    always = {"name": "always", "weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}
    freeze = {"freeze": [{**always, "from": "00:00", "until": "00:00"}]}
    version = ("-vvv", "--data", "version=v1.1.0")
    words = (*version, "--data", f"override_freeze={reason('freeze')}")
    assert_clean(made, made.run("rollout", *words, data={**data(), **freeze}))
    assert_clean(
        made, made.run("rollout", *version, "--data", f"break_glass={reason('glass')}", data={**data(), **freeze})
    )
    nowhere = {"rollout": {"lease": f"etcd://root:{CANARIES['etcd']}@127.0.0.1:9"}}
    refused = made.run("rollout", *version, data={**data(), **nowhere})
    assert refused.code == 2, refused.output
    assert_clean(made, refused)
    password = {"repository": f"https://bob:{CANARIES['repository']}@git.example.com/hello.git"}
    assert_clean(made, made.run("rollout", *version, data={**data(), **password}))
    wrong = data()
    wrong["hello"]["health"]["check"]["headers"] = {"Authorization": [CANARIES["authorization"]]}
    wrong["hello"]["unit"]["environment"]["DB_PASSWORD"] = {"value": CANARIES["environment"]}
    unusable = made.run("rollout", *version, data=wrong)
    assert unusable.code == 2, unusable.output
    assert_clean(made, unusable)


def test_a_password_that_is_refused_is_not_quoted(made: Fleet) -> None:
    only = {"ssh_key": None, "ssh_password": CANARIES["sshpassword"]}
    result = made.run("rollout", "-vvv", "--data", "version=v1.1.0", data={**data(), "hosts": {"t1": only, "t2": only}})
    assert result.code != 0, result.output
    assert_clean(made, result)


def test_the_records_say_that_something_was_hidden(made: Fleet) -> None:
    reports = [path.read_text() for path in sorted(Path(made.home, "runs").glob("*/report.md"))]
    assert any("because: the token" in text for text in reports)
