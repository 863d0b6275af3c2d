"""Content of the text files of a release. Golden files: `pytest tests/unit/release/test_render.py --update-golden`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gofallback.model import DataError, Service
from gofallback.model.unit import HARDENING
from gofallback.release import templates
from gofallback.release.render import ReleaseFiles, render
from tests.unit.services import FULL, MINIMAL, service

GOLDEN = Path(__file__).parent / "golden"
TEMPLATES = templates.load()
SOCKET = MINIMAL | {"name": "door", "port": 8080, "socket_activation": True}


def rendered(of: Service, version: str = "v1.2.3", artifact: str = "a" * 64, agent: str = "b" * 64) -> ReleaseFiles:
    return render(of, version=version, artifact_key=artifact, agent_key=agent, templates=TEMPLATES)


def directives(text: str) -> list[tuple[str, str, str]]:
    """(section, name, value) as systemd reads a file: its rules for comments and continued lines."""
    found, section, pending = [], "", ""
    for raw in text.split("\n"):
        line = pending + raw
        if not pending and line.lstrip().startswith(("#", ";")):
            continue
        if (len(line) - len(line.rstrip("\\"))) % 2:
            pending = line[:-1] + " "
            continue
        pending = ""
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line:
            name, value = line.split("=", 1)
            found.append((section, name.strip(), value.strip()))
    return found


@pytest.mark.parametrize("data", [MINIMAL, FULL, SOCKET], ids=lambda data: data["name"])
def test_the_files_of_a_release_are_those_kept_in_golden(data: dict[str, Any], request: pytest.FixtureRequest) -> None:
    files = rendered(service(data))
    folder = GOLDEN / files.service
    if request.config.getoption("--update-golden"):
        for path, file in files.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(file.content)
    kept = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert {path: file.text for path, file in files.files.items()} == kept
    modes = {path: file.mode for path, file in files.files.items()}
    assert modes.pop("conf/environment") == modes.pop("conf/health.json") == 0o600, "they may hold passwords"
    assert set(modes.values()) == {0o644}


def test_equal_data_gives_the_same_release_and_any_change_another_one() -> None:
    base = rendered(service())
    assert base.id == rendered(service()).id
    assert base.id.startswith("v1.2.3-") and len(base.id) == len("v1.2.3-") + 8
    others = [
        rendered(service(), artifact="c" * 64),
        rendered(service(), agent="c" * 64),
        rendered(service(unit={"arguments": ["-v"]})),
        rendered(service(unit={"environment": {"A": "1"}})),
        rendered(service(extra_files={"a.txt": "1"})),
        rendered(service(extra_files={"a.txt": "2"})),
        rendered(service(keep_releases=6)),
        rendered(service(health={"check": {"type": "tcp", "address": "127.0.0.1:1"}})),
    ]
    assert len({base.id, *(other.id for other in others)}) == 1 + len(others)


def test_every_directive_of_the_hardening_profile_is_there_unless_it_was_relaxed_by_name() -> None:
    unit = directives(rendered(service()).units["hello.service"].text)
    assert {("Service", name, value) for name, value in HARDENING.items()} <= set(unit)
    relaxed = directives(rendered(service(unit={"relax": ["ProtectHome"]})).units["hello.service"].text)
    assert {name for _, name, _ in unit} - {name for _, name, _ in relaxed} == {"ProtectHome"}


def test_a_directive_of_the_service_takes_the_place_of_the_profiles() -> None:
    unit = directives(rendered(service(unit={"directives": {"ProtectHome": "read-only"}})).units["hello.service"].text)
    assert [value for _, name, value in unit if name == "ProtectHome"] == ["read-only"]


def test_a_port_below_1024_comes_with_the_one_capability_it_needs() -> None:
    low = directives(rendered(service(port=80)).units["hello.service"].text)
    assert ("Service", "AmbientCapabilities", "CAP_NET_BIND_SERVICE") in low
    assert ("Service", "CapabilityBoundingSet", "CAP_NET_BIND_SERVICE") in low
    handed_over = directives(rendered(service(port=80, socket_activation=True)).units["hello.service"].text)
    assert ("Service", "CapabilityBoundingSet", "") in handed_over


@pytest.mark.parametrize("name", ["ExecStart", "User", "EnvironmentFile"])
def test_a_directive_that_the_release_is_made_of_cannot_be_replaced(name: str) -> None:
    with pytest.raises(DataError, match=rf"services\.hello\.unit\.directives\.{name}: is set by gofallback"):
        rendered(service(unit={"directives": {name: "x"}}))


def test_an_extra_file_cannot_take_the_name_of_a_rendered_one() -> None:
    for name in ("hello.service", "./environment", "health.json"):
        with pytest.raises(DataError, match="is a name that gofallback uses"):
            rendered(service(extra_files={name: "x"}))


def test_a_template_of_the_project_replaces_the_shipped_one_and_a_misspelt_name_in_it_is_one_line(
    tmp_path: Path,
) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "environment.j2").write_text("# mine\n{{ nmae }}\n")
    own = templates.load(tmp_path)
    with pytest.raises(DataError, match=r"^templates/environment\.j2.*'nmae' is undefined; .*$"):
        render(service(), version="v1", artifact_key="a", agent_key="b", templates=own)
    (tmp_path / "templates" / "environment.j2").write_text("# mine {{ name }}\n")
    files = render(service(), version="v1", artifact_key="a", agent_key="b", templates=templates.load(tmp_path))
    assert files.files["conf/environment"].text == "# mine hello\n"


def test_the_agents_plan_names_the_units_that_are_rendered() -> None:
    for data in (MINIMAL, FULL, SOCKET):
        files = rendered(service(data))
        plan = json.loads(files.files["conf/activation.json"].text)
        assert sorted(plan["units"]) == sorted(files.units)
        assert {plan["main_unit"], plan["timer_unit"]} <= set(plan["units"])
        assert (plan["socket_unit"] in plan["units"]) == service(data).socket_activation


LINE = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)


@settings(deadline=None)
@given(value=LINE, key=st.sampled_from(["description", "argument", "environment", "directory", "after", "directive"]))
def test_no_value_can_add_remove_or_change_another_directive(value: str, key: str) -> None:
    def unit(text: str) -> dict[str, Any]:
        return {
            "description": {"description": text},
            "argument": {"arguments": [text]},
            "environment": {"environment": {"A": text}},
            "directory": {"working_directory": "/" + text.replace("..", "")},
            "after": {"after": [text]},
            "directive": {"directives": {"WatchdogSec": text}},
        }[key]

    changed = {"Description", "After", "Wants", "ExecStart", "WorkingDirectory", "WatchdogSec"}

    def others(text: str) -> list[list[tuple[str, str, str]]]:
        units = rendered(service(unit=unit(text))).units
        found = [directives(units[name].text) for name in sorted(units)]
        return [[(s, n, "" if n in changed else v) for s, n, v in lines] for lines in found]

    expected = others("x")
    try:
        assert others(value) == expected
    except DataError as error:
        assert "\n" not in str(error)
