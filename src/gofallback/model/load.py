"""Reads the YAML files of services: one file for each service, named after it."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from gofallback.model.base import DataError

SUFFIXES = (".yml", ".yaml")
#: Bytes; the data of a service is a few kilobytes, and YAML aliases can grow without bound.
LARGEST = 1_000_000


class _Loader(yaml.SafeLoader):
    """The safe loader, but a key given twice is an error (YAML 1.2, 3.2.1.3); PyYAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, Hashable):
                raise yaml.MarkedYAMLError(problem="a key should be text", problem_mark=key_node.start_mark)
            if key in seen:
                problem = f"key '{key}' is given twice (first in line {seen[key]})"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen[key] = line
        return super().construct_mapping(node, deep=deep)


def load_services(folder: Path) -> list[dict[str, Any]]:
    """Every ``*.yml`` and ``*.yaml`` of a folder, sorted by name, as plain data for `parse_fleet`.

    ``name`` may be left out; it is the name of the file. If given it has to be the same: errors name the file by it.

    Raises:
        DataError: one line, ``file:line: what; remedy``.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; it should hold one YAML file for each service")
    found: dict[str, Path] = {}
    services: list[dict[str, Any]] = []
    for path in sorted(entry for entry in folder.iterdir() if entry.suffix in SUFFIXES and entry.is_file()):
        data = load_yaml(path)
        name = data.setdefault("name", path.stem)
        if isinstance(name, str) and name in found:
            raise DataError(
                f"{path}:{_line(path, 'name')}: service '{name}' is also in {found[name]}; keep one of them"
            )
        if name != path.stem:
            remedy = (
                f"name the file {name}{path.suffix}" if isinstance(name, str) else f"remove `name` or write {path.stem}"
            )
            raise DataError(
                f"{path}:{_line(path, 'name')}: name should be '{path.stem}', as the file, got {name!r}; {remedy}"
            )
        found[name] = path
        services.append(data)
    return services


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file with a mapping; safe loader, no key twice.

    Raises:
        DataError: one line, ``file:line: what; remedy``.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path}:1: is larger than {LARGEST} bytes; a service's data is a few kilobytes")
        text = path.read_text(encoding="utf-8")
        data = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        column = f", column {mark.column + 1}" if mark else ""
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise DataError(f"{path}:{line}: not valid YAML: {_one_line(what)}{column}; correct this line") from None
    except yaml.YAMLError as error:
        raise DataError(f"{path}:1: not valid YAML: {_one_line(str(error))}; correct it") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:1: should be UTF-8, byte {error.start} is not; save the file as UTF-8") from None
    except RecursionError:
        raise DataError(f"{path}:1: is nested too deeply; a service's data has four levels") from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path}:1: cannot be read: {_one_line(str(error))}; correct it") from None
    if not isinstance(data, dict):
        got = "nothing" if data is None else f"a {type(data).__name__}"
        raise DataError(f"{path}:1: should be a mapping (key: value), got {got}; see docs/service-reference.yml")
    return data


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _line(path: Path, key: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.startswith(f"{key}:")), 1)
