"""What a person sees when group data is wrong: the exact line, for every kind of mistake."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gofallback.model import DataError, Fleet, parse_fleet
from gofallback.model.error_text import PATTERNS
from gofallback.model.fleet import merge
from tests.unit.examples import examples

HELLO: dict[str, Any] = {
    "name": "hello",
    "source": {"repository": "https://git.example.com/hello.git"},
    "health": {"check": {"type": "http", "url": "http://127.0.0.1:8080/healthz"}},
    "port": 8080,
}
GO = {"tool": "go", "version": "1.27.0", "url": "https://example.com/go.zip", "sha256": "a" * 64}
GIT = {"tool": "git", "version": "2.55.0", "url": "https://example.com/git.zip", "sha256": "b" * 64}
TOOLCHAIN = {"go": "1.27.0", "git": "2.55.0", "pins": [GO, GIT]}
FILE = "group_data/services/hello.yml"


def refused(data: dict[str, Any]) -> str:
    with pytest.raises(DataError) as caught:
        parse_fleet(data)
    return str(caught.value)


def service(**changes: Any) -> dict[str, Any]:
    return {"services": [merge(copy.deepcopy(HELLO), changes)]}


SERVICE_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "not one of the words": (
        {"unit": {"restart": "sometimes"}},
        f"services.hello.unit.restart: should be 'no', 'on-failure' or 'always', got 'sometimes'; change it in {FILE}",
    ),
    "an unquoted no of YAML": (
        {"unit": {"restart": False}},
        "services.hello.unit.restart: should be 'no', 'on-failure' or 'always', got false; YAML reads an unquoted yes, "
        f"no, on and off as a boolean, so put it in quotes; change it in {FILE}",
    ),
    "a number in quotes": (
        {"port": "8080"},
        f'services.hello.port: should be an integer, got "8080" (a string); change it in {FILE}',
    ),
    "an unquoted number for text": (
        {"build": {"go": 1.25}},
        f"services.hello.build.go: should be text, got 1.25 (a number); put it in quotes; change it in {FILE}",
    ),
    "an unknown key with letters swapped": (
        {"prot": 80},
        "services.hello.prot: unknown key (did you mean 'port'?); known here: archives, build, extra_files, "
        "files, health, keep_releases, name, port, root, smoke, smoke_expect, socket_activation, source, unit, values; "
        f"rename or remove it in {FILE}",
    ),
    "an unknown key inside one kind of check": (
        {"health": {"check": {"stats": 200}}},
        "services.hello.health.check.stats: unknown key (did you mean 'status'?); known here: body, ca_file, headers, "
        f"insecure, status, type, url; rename or remove it in {FILE}",
    ),
    "a stamp that no linker can be told": (
        {"build": {"stamp": {"main.motto": 'it\'s "new"'}}},
        'services.hello.build.stamp["main.motto"]: should not hold both kinds of quotes: go cannot pass that to '
        f"the linker, got a string (not shown); change it in {FILE}",
    ),
    "a missing block": ({"health": None}, f"services.hello.health: is required and missing; add it in {FILE}"),
    "a check of an unknown kind": (
        {"health": {"check": {"type": "ping"}}},
        f"services.hello.health.check.type: should be one of 'http', 'tcp', 'command', got 'ping'; change it in {FILE}",
    ),
    "a check without its kind": (
        {"health": {"check": {"type": None}}},
        f"services.hello.health.check.type: is required and missing; one of 'http', 'tcp', 'command'; add it in {FILE}",
    ),
    "a value in place of a block": (
        {"unit": 5},
        f"services.hello.unit: should be a mapping (key: value), got 5 (an integer); change it in {FILE}",
    ),
    "a block that is switched on with true": (
        {"build": {"cgo": True}},
        "services.hello.build.cgo: should be a mapping (key: value), got true (a boolean); write {} to switch it on "
        f"with its defaults; change it in {FILE}",
    ),
    "text in place of a list": (
        {"smoke": "--version"},
        f'services.hello.smoke: should be a list, got "--version" (a string); change it in {FILE}',
    ),
    "a port out of range": (
        {"port": 70000},
        f"services.hello.port: should be at most 65535, got 70000; change it in {FILE}",
    ),
    "a duration of zero": (
        {"health": {"timeout": 0}},
        f"services.hello.health.timeout: should be more than 0, got 0; change it in {FILE}",
    ),
    "an empty list where one entry is needed": (
        {"health": {"check": {"type": "command", "argv": [], "url": None}}},
        f"services.hello.health.check.argv: should have at least 1 entry, got 0; change it in {FILE}",
    ),
    "a platform Go does not have": (
        {"build": {"platforms": ["linux/amd64", "linux/x86_64"]}},
        "services.hello.build.platforms[1]: should be a GOOS/GOARCH pair of `go tool dist list`, such as linux/amd64, "
        f"got 'linux/x86_64'; change it in {FILE}",
    ),
    "a path that escapes its root": (
        {"build": {"package": "../other"}},
        "services.hello.build.package: should be a relative path that stays inside its root, got '../other'; "
        f"change it in {FILE}",
    ),
    "an extra file that escapes": (
        {"extra_files": {"../../etc/passwd": "x"}},
        'services.hello.extra_files["../../etc/passwd"]: the key should be a relative path that stays inside its root, '
        f"got '../../etc/passwd'; change it in {FILE}",
    ),
    "a unit directive with a line feed": (
        {"unit": {"description": "hello\nExecStartPre=/bin/sh"}},
        "services.hello.unit.description: should be one line without control characters, "
        f'got "hello\\nExecStartPre=/bin/sh"; change it in {FILE}',
    ),
    "a key that is no environment variable": (
        {"unit": {"environment": {"1A": "x"}}},
        'services.hello.unit.environment["1A"]: the key should be the name of an environment variable '
        f"(letters, digits, '_'), got '1A'; change it in {FILE}",
    ),
    "a size nobody knows": (
        {"unit": {"memory_max": "1Q"}},
        "services.hello.unit.memory_max: should be a size such as 512M or 2G, or infinity, got '1Q'; "
        f"change it in {FILE}",
    ),
    "two values that contradict": (
        {"health": {"minimum_healthy": 100}},
        "services.hello.health: minimum_healthy (100 s) should be shorter than start_deadline (60 s); "
        f"change it in {FILE}",
    ),
    "an environment variable that is ours": (
        {"build": {"environment": {"GOOS": "linux"}}},
        f"services.hello.build.environment: GOOS is set by gofallback; remove it in {FILE}",
    ),
    "socket activation without a port": (
        {"socket_activation": True, "port": None},
        f"services.hello: socket_activation needs `port`; change it in {FILE}",
    ),
}


@pytest.mark.parametrize(("changes", "line"), SERVICE_CASES.values(), ids=list(SERVICE_CASES))
def test_a_mistake_in_a_service_is_one_exact_line(changes: dict[str, Any], line: str) -> None:
    assert refused(service(**changes)) == line


FLEET_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "no services at all": (
        {},
        "services: is required and missing; add services = load_services(folder) to group_data/all.py",
    ),
    "services of the wrong type": (
        {"services": "hello"},
        "services: should be a list or a mapping of services, got a string; change it in group_data/",
    ),
    "a service without a name": (
        {"services": [{"port": 80}]},
        "services[0].name: is required and missing; add a name of lower case letters, digits and '-'",
    ),
    "a name that is not its key": (
        {"services": {"hello": {**HELLO, "name": "hallo"}}},
        "services.hello.name: should be 'hello', as its key, got 'hallo'; remove `name`",
    ),
    "two services of one name": (
        {"services": [HELLO, HELLO]},
        "services[1].name: 'hello' is the name of two services; rename one in group_data/services",
    ),
    "two services on one port": (
        {"services": [HELLO, {**HELLO, "name": "other"}]},
        "services.other.port: 8080 is also the port of 'hello'; give each service its own in "
        "group_data/services/other.yml",
    ),
    "two services on one port after an override": (
        {"services": [HELLO, {**HELLO, "name": "b", "port": 81}], "service_overrides": {"b": {"port": 8080}}},
        "services.b.port: 8080 is also the port of 'hello'; give each service its own in group_data/services/b.yml",
    ),
    "an override for no service": (
        {"services": [HELLO], "service_overrides": {"helo": {}}},
        "service_overrides.helo: no such service (did you mean 'hello'?); known: hello; "
        "rename or remove it in group_data/ or the inventory",
    ),
    "a mistake inside an override": (
        {"services": [HELLO], "service_overrides": {"hello": {"unit": {"restart": "x"}}}},
        "service_overrides.hello.unit.restart: should be 'no', 'on-failure' or 'always', got 'x'; "
        "change it in group_data/ or the inventory",
    ),
    "a missing pin": (
        {"services": [HELLO], "toolchain": {**TOOLCHAIN, "go": "1.26.0"}},
        "toolchain: go 1.26.0 has no pin (pinned: 1.27.0); add version, url and sha256 to pins "
        "in group_data/builders.py",
    ),
    "a missing pin of one service": (
        {"services": [merge(HELLO, {"build": {"go": "1.25.1"}})], "toolchain": TOOLCHAIN},
        "services.hello.build.go: Go 1.25.1 has no pin (pinned: 1.27.0); add its version, url and sha256 to "
        "toolchain.pins in group_data/builders.py",
    ),
    "a hash that is none": (
        {"services": [HELLO], "toolchain": {**TOOLCHAIN, "pins": [{**GO, "sha256": "A" * 64}, GIT]}},
        f"toolchain.pins[0].sha256: should be a SHA-256: 64 hex digits in lower case, got '{'A' * 64}'; "
        "change it in group_data/builders.py",
    ),
    "a builder root that is no Windows path": (
        {"services": [HELLO], "builder": {"root": "D:gofallback"}},
        'builder.root: should be an absolute Windows path such as C:\\gofallback, without any of \\"&|<>^%!*?/, '
        "got 'D:gofallback'; change it in group_data/ or the inventory",
    ),
    "a Linux builder without a root": (
        {"services": [HELLO], "builder": {"os": "linux"}},
        "builder: root is missing: os is linux, where it has no default; name a folder that the login may create, "
        "such as /home/builder/gofallback, in group_data/ or the inventory",
    ),
    "a builder root that is somebody's home": (
        {"services": [HELLO], "builder": {"root": "C:\\Users\\bob"}},
        "builder.root: should be a folder of its own, such as C:\\gofallback: a wipe removes work, tmp and more in it, "
        "got 'C:\\Users\\bob'; change it in group_data/ or the inventory",
    ),
    "a builder root of the other system": (
        {"services": [HELLO], "builder": {"root": "/opt/gofallback"}},
        "builder: root /opt/gofallback is no path of os windows; correct one of them in group_data/ or the inventory",
    ),
    "a builder root with a blank": (
        {"services": [HELLO], "builder": {"os": "linux", "root": "/home/a b/gofallback"}},
        "builder.root: should be an absolute path such as /home/builder/gofallback, without blanks, ':' and '..', "
        "got '/home/a b/gofallback'; change it in group_data/ or the inventory",
    ),
    "a target that wants an unknown service": (
        {"services": [HELLO], "target": {"services": ["helo"]}},
        "target.services[0]: no such service 'helo' (did you mean 'hello'?); known: hello; "
        "change it in group_data/ or the inventory",
    ),
    "a builder root in the login's home, as a shell writes it": (
        {"services": [HELLO], "builder": {"os": "linux", "root": "~/gofallback"}},
        "builder.root: should be an absolute path: on Windows such as C:\\gofallback, on Linux "
        "/home/builder/gofallback, got '~/gofallback'; change it in group_data/ or the inventory",
    ),
    "a folder without file://": (
        {"services": [HELLO], "vulnerabilities": {"database": "/srv/vulndb"}},
        "vulnerabilities.database: should be a folder of the controller such as file:///srv/vulndb, got '/srv/vulndb'; "
        "change it in group_data/ or the inventory",
    ),
    "an environment that is no text": (
        {"services": [HELLO], "environment": 5},
        "environment: should be text, got an integer (not shown); put it in quotes; "
        "change it in group_data/ or the inventory",
    ),
    "an environment without a name": (
        {"services": [HELLO], "environment": None},
        "environment: should be text, got null (not shown); change it in group_data/ or the inventory",
    ),
    "a key of ours with two letters swapped": (
        {"services": [HELLO], "trsut": {}},
        "trsut: unknown key, nearly 'trust'; rename it in group_data/ or the inventory",
    ),
    "a key of ours that lacks a letter": (
        {"services": [HELLO], "vulnerabilites": {}},
        "vulnerabilites: unknown key, nearly 'vulnerabilities'; rename it in group_data/ or the inventory",
    ),
    "a key of ours that is misspelt": (
        {"services": [HELLO], "service_override": {}},
        "service_override: unknown key, nearly 'service_overrides'; rename it in group_data/ or the inventory",
    ),
}


@pytest.mark.parametrize(("data", "line"), FLEET_CASES.values(), ids=list(FLEET_CASES))
def test_a_mistake_in_the_rest_is_one_exact_line(data: dict[str, Any], line: str) -> None:
    assert refused(data) == line


def test_many_mistakes_are_three_lines_and_a_count() -> None:
    data = service(unit={"restart": 1, "type": 1, "after": 1, "relax": 1}, port=0)
    lines = refused(data).split("\n")
    assert len(lines) == 3
    assert lines[2].endswith("(and 2 more)")


def test_what_may_be_secret_is_not_shown() -> None:
    text = refused(service(unit={"environment": {"DB_PASSWORD": 12345678}}))
    assert "12345678" not in text
    assert "services.hello.unit.environment.DB_PASSWORD: should be text, got an integer (not shown)" in text
    text = refused(service(source={"repository": "https://bob:hunter2@git.example.com/hello.git"}))
    assert "hunter2" not in text
    assert "should not hold a password, got 'https://bob:***@git.example.com/hello.git'" in text


def test_data_of_others_is_left_alone() -> None:
    fleet = parse_fleet({**service(), "ssh_user": "deploy", "monitoring": {"anything": 1}})
    assert list(fleet.services) == ["hello"]


def test_an_override_changes_one_value_and_keeps_the_rest() -> None:
    data = service(unit={"memory_max": "128M", "environment": {"A": "1", "B": "2"}}, smoke=["--version", "-v"])
    data["service_overrides"] = {
        "hello": {"unit": {"environment": {"B": "3"}, "memory_max": None}, "smoke": ["--help"], "port": 81}
    }
    hello = parse_fleet(data).services["hello"]
    assert hello.unit.environment == {"A": "1", "B": "3"}
    assert hello.unit.memory_max is None
    assert hello.smoke == ["--help"]
    assert hello.port == 81
    assert data["services"][0]["unit"]["memory_max"] == "128M", "the data itself must stay as it is"


def test_a_mapping_of_services_needs_no_names_inside() -> None:
    raw = {key: value for key, value in HELLO.items() if key != "name"}
    assert parse_fleet({"services": {"hello": raw}}).services["hello"].name == "hello"


def test_whole_numbers_are_taken_for_seconds() -> None:
    assert parse_fleet(service(health={"timeout": 3})).services["hello"].health.timeout == 3.0


def patterns(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
        keys = set(node["patternProperties"]) if isinstance(node.get("patternProperties"), dict) else set()
        return own | keys | {found for value in node.values() for found in patterns(value)}
    return {found for value in node for found in patterns(value)} if isinstance(node, list) else set()


def test_every_pattern_of_the_models_has_plain_words() -> None:
    assert patterns(Fleet.model_json_schema()) - set(PATTERNS) == set()


KEYS = st.sampled_from(
    [
        "name",
        "source",
        "build",
        "unit",
        "health",
        "check",
        "type",
        "url",
        "port",
        "pins",
        "hello",
        "environment",
        "a\nb",
    ]
)
JSONISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["http", "tcp", "go"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS | st.integers(), below, max_size=4),
    max_leaves=12,
)
PARTS = st.sampled_from(["services", "service_overrides", "toolchain", "builder", "target", "rollout", "environment"])


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(PARTS, JSONISH, max_size=4), st.dictionaries(KEYS, JSONISH, max_size=3))
def test_any_data_at_all_is_parsed_or_refused_in_lines(data: dict[str, Any], changes: dict[str, Any]) -> None:
    for attempt in (data, {**data, "services": [merge(HELLO, changes)]}):
        try:
            parse_fleet(attempt)
        except DataError as error:
            lines = str(error).split("\n")
            assert 1 <= len(lines) <= 3
            assert all(line.isprintable() and ": " in line for line in lines)
