"""Service files: what is read, and the line a person sees when a file cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gofallback.cli import reference
from gofallback.model import DataError, Service, parse_fleet
from gofallback.model.error_text import models_of
from gofallback.model.load import load_services, load_yaml
from tests.paths import PROJECT

GOOD = "source: {repository: /srv/hello.git}\nhealth: {check: {type: tcp, address: '127.0.0.1:80'}}\n"


def refused(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_services(folder)
    text = str(caught.value)
    assert "\n" not in text
    return text.replace(f"{folder}/", "")


def test_files_are_read_in_order_and_named_after_themselves(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(GOOD)
    (tmp_path / "a.yaml").write_text("name: a\n" + GOOD)
    (tmp_path / "README.md").write_text("no service")
    services = load_services(tmp_path)
    assert [service["name"] for service in services] == ["a", "b"]
    assert set(parse_fleet({"services": services}).services) == {"a", "b"}


CASES: dict[str, tuple[str, str]] = {
    "a tab": ("unit:\n\tuser: x\n", "hello.yml:2: not valid YAML: while scanning for the next token found character "
              "'\\t' that cannot start any token, column 1; correct this line"),
    "a key given twice": (
        "port: 1\nunit: {}\nport: 2\n",
        "hello.yml:3: not valid YAML: key 'port' is given twice (first in line 1), column 1; correct this line",
    ),
    "a key given twice further down": (
        "unit:\n  user: a\n  user: b\n",
        "hello.yml:3: not valid YAML: key 'user' is given twice (first in line 2), column 3; correct this line",
    ),
    "a list": ("- a\n", "hello.yml:1: should be a mapping (key: value), got a list; see docs/service-reference.yml"),
    "an empty file": ("", "hello.yml:1: should be a mapping (key: value), got nothing; see docs/service-reference.yml"),
    "another name than the file's": (
        "port: 1\nname: hallo\n",
        "hello.yml:2: name should be 'hello', as the file, got 'hallo'; name the file hallo.yml",
    ),
    "a Python object": (
        "port: !!python/object/apply:os.system ['true']\n",
        "hello.yml:1: not valid YAML: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object/apply:os.system', column 7; correct this line",
    ),
    "two documents": (
        "port: 1\n---\nport: 2\n",
        "hello.yml:2: not valid YAML: expected a single document in the stream but found another document, column 1; "
        "correct this line",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line"), CASES.values(), ids=list(CASES))
def test_a_file_that_cannot_be_read_is_one_exact_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "hello.yml").write_text(text)
    assert refused(tmp_path) == line


def test_two_files_of_one_service_are_refused(tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(GOOD)
    (tmp_path / "hello.yml").write_text(GOOD)
    assert refused(tmp_path) == "hello.yml:1: service 'hello' is also in hello.yaml; keep one of them"


def test_bytes_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "hello.yml").write_bytes(b"unit: {description: caf\xe9}\n")
    assert refused(tmp_path) == "hello.yml:1: should be UTF-8, byte 23 is not; save the file as UTF-8"


@pytest.mark.parametrize(
    "text", ["port: 2026-13-45\n", "a: " + "[" * 1200, "a: &a [*a, *a]\n? [x]\n: 1\n", "? {a: b}\n: 1\n", "\x00"]
)
def test_odd_yaml_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "hello.yml").write_text(text)
    assert refused(tmp_path).startswith("hello.yml:")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere").endswith(
        "nowhere: no such folder; it should hold one YAML file for each service"
    )


def test_the_services_of_this_project_are_valid() -> None:
    assert "hello" in parse_fleet({"services": load_services(PROJECT / "group_data" / "services")}).services


def missing_keys(model: type[Any], data: dict[str, Any], where: str) -> list[str]:
    found = []
    for key, field in model.model_fields.items():
        if key not in data:
            found.append(f"{where}{key}")
        elif isinstance(data[key], dict):
            below = [one for one in models_of(field.annotation) if set(data[key]) <= set(one.model_fields)]
            found += [name for one in below[:1] for name in missing_keys(one, data[key], f"{where}{key}.")]
    return found


def test_the_service_reference_is_valid_and_shows_every_key() -> None:
    data = load_yaml(PROJECT / "docs" / "service-reference.yml")
    assert parse_fleet({"services": [data]}).services["hello"].socket_activation
    assert missing_keys(Service, data, "") == []


def test_the_reference_of_group_data_is_up_to_date() -> None:
    written = (PROJECT / reference.TARGET).read_text(encoding="utf-8")
    assert written == reference.reference(), "run `make docs`"


def test_every_key_has_a_meaning_in_the_reference() -> None:
    empty = [line for line in reference.reference().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert empty == []
