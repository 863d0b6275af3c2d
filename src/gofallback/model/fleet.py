"""All group data of one host, parsed and checked against itself."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from gofallback.model.approval import Approval
from gofallback.model.base import Strict
from gofallback.model.builder import Builder, Toolchain
from gofallback.model.cross_checks import require_consistent, require_pull_store
from gofallback.model.error_text import explain, key_path, suggestion, type_name, value_text
from gofallback.model.errors import file_of, refuse
from gofallback.model.freeze import Window
from gofallback.model.publish import Publish
from gofallback.model.rollout import Rollout
from gofallback.model.service import Service
from gofallback.model.target import Target
from gofallback.model.trust import Trust
from gofallback.model.vulnerabilities import Vulnerabilities

M = TypeVar("M", bound=BaseModel)

#: Name (empty where the data is a list), raw service, key path.
Entry = tuple[str, Any, list[str | int]]


class Fleet(Strict):
    """The group data of one host."""

    environment: str = Field(default="default", description="name of the environment, for leases and reports")
    services: dict[str, Service]
    toolchain: Toolchain | None = Field(default=None, description="toolchains of builders; required to build")
    builder: Builder = Field(default=Builder(), description="this host as a builder")
    target: Target = Field(default=Target(), description="this host as a target")
    rollout: Rollout = Field(default=Rollout(), description="how a release goes over the targets")
    approval: Approval | None = Field(
        default=None, description="the approvals a release needs in this environment; default: none"
    )
    freeze: list[Window] = Field(
        default_factory=list, description="times in which nothing is rolled out (docs/freeze.md); default: never"
    )
    publish: Publish | None = Field(
        default=None, description="where `gofallback publish` sends artifacts (docs/publishing.md); default: nowhere"
    )
    trust: Trust = Field(default=Trust(), description="the proof a binary needs before it is shipped")
    vulnerabilities: Vulnerabilities | None = Field(
        default=None,
        description="the scan for known vulnerabilities before a binary is released (docs/vulnerabilities.md); "
        "default: none",
    )


#: Keys of a host's data that belong to gofallback; all others are pyinfra's or the user's own.
KEYS = (*Fleet.model_fields, "service_overrides")
#: Keys that one model parses; services are parsed each by itself.
_REST = tuple(key for key in Fleet.model_fields if key != "services")


class FleetParser:
    """Parses the data of every host of a run. Equal services are parsed once: most hosts have the same ones."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}

    def parse(self, data: Mapping[str, Any]) -> Fleet:
        """Parse the keys of one host's data that are gofallback's (`KEYS`).

        ``services`` is a list of mappings (see `gofallback.model.load.load_services`) or a mapping by name.
        ``service_overrides`` maps a service's name to the values that differ in this environment. They are merged over
        the service by the rules of JSON Merge Patch (RFC 7396): mappings merge key by key, anything else replaces,
        null removes the key (so that the default counts again).

        Raises:
            DataError: one line per finding (at most three) with key path, value, expectation and remedy.
        """
        _refuse_misspelt(data)
        raw = _by_name(data.get("services"))
        overrides = _overrides(data.get("service_overrides") or {}, raw)
        lines: list[str] = []
        services: dict[str, Service] = {}
        for name, values in raw.items():
            service = self._service(name, merge(values, overrides.get(name, {})), overrides, lines)
            if service:
                services[name] = service
        # A part that is null counts as missing; an environment that is null is an error.
        rest = {key: data[key] for key in _REST if key in data and (data[key] is not None or key == "environment")}
        fleet = _validate(Fleet, {"services": services, **rest}, [], lines)
        if lines or fleet is None:
            refuse(*lines)
        require_consistent(services, fleet.target, fleet.toolchain)
        require_pull_store(fleet.target, fleet.publish)
        return fleet

    def _service(self, name: str, raw: Any, overrides: Mapping[str, Any], lines: list[str]) -> Service | None:
        key = repr(raw)  # distinguishes 1, True and "1", as the models do
        found = self._services.get(key) or _validate(Service, raw, ["services", name], lines, overrides)
        if found:
            self._services[key] = found
        return found


def parse_fleet(data: Mapping[str, Any]) -> Fleet:
    """Parse the data of a single host; see `FleetParser.parse`.

    Raises:
        DataError: as `FleetParser.parse`.
    """
    return FleetParser().parse(data)


def parse_publish(raw: object, source: str) -> Publish:
    """Parse ``publish`` alone, for the command that belongs to no host.

    Args:
        raw: the value of ``publish``.
        source: the file or command line that a person has to change, for errors.

    Raises:
        DataError: as `FleetParser.parse`.
    """
    lines: list[str] = []
    parsed = _validate(Publish, raw, ["publish"], lines)
    if parsed is None:
        refuse(*(line.replace(file_of(["publish"]), source) for line in lines))
    return parsed


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Merge Patch (RFC 7396): a new mapping, the arguments stay as they are."""
    merged = dict(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def _refuse_misspelt(data: Mapping[str, Any]) -> None:
    """A host's data also holds keys of others, so only a key that is nearly one of ours counts as misspelt."""
    for key in data:
        if key not in KEYS:
            near = [known for known in KEYS if sorted(known) == sorted(str(key))]  # toolchian
            near = near or difflib.get_close_matches(str(key), KEYS, n=1, cutoff=0.85)
            if near:
                refuse(f"{key}: unknown key, nearly '{near[0]}'; rename it in {file_of([near[0]])}")


def _by_name(services: object) -> dict[str, dict[str, Any]]:
    if services is None:
        refuse("services: is required and missing; add services = load_services(folder) to group_data/all.py")
    if isinstance(services, Mapping):
        entries: list[Entry] = [(str(name), raw, ["services", str(name)]) for name, raw in services.items()]
    elif isinstance(services, (list, tuple)):
        entries = [("", raw, ["services", index]) for index, raw in enumerate(services)]
    else:
        kind = type_name(services)
        refuse(f"services: should be a list or a mapping of services, got {kind}; change it in group_data/")
    by_name: dict[str, dict[str, Any]] = {}
    for given, raw, path in entries:
        if not isinstance(raw, Mapping):
            text = f"{key_path(path)}: should be a mapping (key: value), got {type_name(raw)}"
            refuse(f"{text}; change it in {file_of(path)}")
        name = raw.get("name", given or None)
        name_path = key_path([*path, "name"])
        if not isinstance(name, str):
            problem = "is required and missing" if name is None else f"should be text, got {value_text(name)}"
            refuse(f"{name_path}: {problem}; add a name of lower case letters, digits and '-'")
        if given and name != given:
            refuse(f"{name_path}: should be '{given}', as its key, got {value_text(name)}; remove `name`")
        if name in by_name:
            refuse(f"{name_path}: '{name}' is the name of two services; rename one in group_data/services")
        by_name[name] = {**raw, "name": name}
    return by_name


def _overrides(overrides: object, services: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    if not isinstance(overrides, Mapping):
        kind = type_name(overrides)
        refuse(f"service_overrides: should be a mapping by service name, got {kind}; change it in group_data/")
    for name, override in overrides.items():
        path = key_path(["service_overrides", str(name)])
        if name not in services:
            known = ", ".join(services) or "none"
            hint = suggestion(str(name), list(services))
            remedy = f"rename or remove it in {file_of(['service_overrides'])}"
            refuse(f"{path}: no such service{hint}; known: {known}; {remedy}")
        if not isinstance(override, Mapping):
            refuse(f"{path}: should be a mapping (key: value), got {type_name(override)}; change it in group_data/")
        if override.get("name", name) != name:
            refuse(
                f"{path}.name: a service cannot be renamed by an override; remove it in group_data/ or the inventory"
            )
    return dict(overrides)


def _validate(
    model: type[M], raw: object, path: list[str | int], lines: list[str], overrides: Mapping[str, Any] | None = None
) -> M | None:
    """The parsed value; None after its problems were added to ``lines``."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            found = explain(detail, model, raw if isinstance(raw, Mapping) else {})
            full = _origin([*path, *found.path], overrides or {})
            remedy = f"; {found.remedy}" if found.remedy else ""
            lines.append(f"{key_path(full)}: {found.problem}{remedy} in {file_of(full)}")
    return None


def _origin(path: list[str | int], overrides: Mapping[str, Any]) -> list[str | int]:
    """Where a key of a service was written: in the service itself, or in service_overrides."""
    node: Any = overrides
    for part in path[1:]:
        if not isinstance(node, Mapping) or part not in node:
            return path
        node = node[part]
        if not isinstance(node, Mapping):
            return ["service_overrides", *path[1:]]
    return path
