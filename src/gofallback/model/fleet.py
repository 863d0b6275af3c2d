"""All of the group data of one run, parsed and checked against itself."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from gofallback.model.approval import Approval
from gofallback.model.base import Strict
from gofallback.model.builder import Builder, Toolchain
from gofallback.model.cross_checks import consistent, pullable
from gofallback.model.error_text import closest, explain, key_path, kind, shown
from gofallback.model.errors import place, refuse
from gofallback.model.freeze import Window
from gofallback.model.publish import Publish
from gofallback.model.rollout import Rollout
from gofallback.model.service import Service
from gofallback.model.target import Target
from gofallback.model.trust import Trust
from gofallback.model.vulnerabilities import Vulnerabilities

M = TypeVar("M", bound=BaseModel)

#: Name (where the data is a mapping), raw service, key path.
Entry = tuple[str, Any, list[str | int]]


class Fleet(Strict):
    """What one host's group data says."""

    environment: str = Field(default="default", description="name of the environment, for leases and reports")
    services: dict[str, Service]
    toolchain: Toolchain | None = Field(default=None, description="what builders get; needed where something is built")
    builder: Builder = Field(default=Builder(), description="this host as a builder")
    target: Target = Field(default=Target(), description="this host as a target")
    rollout: Rollout = Field(default=Rollout(), description="how a release goes over the targets")
    approval: Approval | None = Field(
        default=None, description="what a release needs before it goes to this environment; default: nothing"
    )
    freeze: list[Window] = Field(
        default_factory=list, description="times in which nothing is rolled out (docs/freeze.md); default: never"
    )
    publish: Publish | None = Field(
        default=None, description="where `gofallback publish` sends artifacts (docs/publishing.md); default: nowhere"
    )
    trust: Trust = Field(default=Trust(), description="what has to be proven of a binary before it is shipped")
    vulnerabilities: Vulnerabilities | None = Field(
        default=None,
        description="known vulnerabilities that are looked for before a binary is released (docs/vulnerabilities.md); "
        "default: none",
    )


class _Freeze(Strict):
    """The list of windows under its key, so that an error names both."""

    freeze: list[Window]


#: Keys of a host's data that belong to gofallback; all others are pyinfra's or the user's own.
KEYS = (*Fleet.model_fields, "service_overrides")

_PARTS: dict[str, type[BaseModel]] = {
    "toolchain": Toolchain,
    "builder": Builder,
    "target": Target,
    "rollout": Rollout,
    "approval": Approval,
    "publish": Publish,
    "trust": Trust,
    "vulnerabilities": Vulnerabilities,
}


def parse_fleet(data: Mapping[str, Any]) -> Fleet:
    """Parse the keys of one host's data that are gofallback's (`KEYS`).

    ``services`` is a list of mappings (see `gofallback.model.load.load_services`) or a mapping by name.
    ``service_overrides`` maps a service's name to what differs in this environment; it is merged over the service by
    the rules of JSON Merge Patch (RFC 7396): mappings merge key by key, anything else replaces, null removes the key
    (so that the default counts again).

    Raises:
        DataError: one line per finding (at most three) with key path, value, expectation and remedy.
    """
    _misspelt(data)
    services = _by_name(data.get("services"))
    overrides = data.get("service_overrides") or {}
    lines: list[str] = []
    parsed: dict[str, Service] = {}
    for name, override in _overrides(overrides, services).items():
        services[name] = merge(services[name], override)
    for name, raw in services.items():
        service = _validate(Service, raw, ["services", name], lines, overrides)
        if service:
            parsed[name] = service
    parts: dict[str, Any] = {}
    for key, model in _PARTS.items():
        if data.get(key) is not None:
            parts[key] = _validate(model, data[key], [key], lines)
    if data.get("freeze") is not None:
        windows = _validate(_Freeze, {"freeze": data["freeze"]}, [], lines)
        parts["freeze"] = windows.freeze if windows else []
    if "environment" in data and not isinstance(data["environment"], str):
        lines.append(
            f"environment: should be text, got {kind(data['environment'])}; change it in {place(['environment'])}"
        )
    if lines:
        refuse(*lines)
    consistent(parsed, parts.get("target"), parts.get("toolchain"))
    pullable(parts.get("target"), parts.get("publish"))
    return Fleet(environment=data.get("environment", "default"), services=parsed, **parts)


def parse_publish(raw: object, where: str) -> Publish:
    """Parse ``publish`` alone, for the command that belongs to no host.

    Raises:
        DataError: as `parse_fleet`; ``where`` is what a person has to change.
    """
    lines: list[str] = []
    parsed = _validate(Publish, raw, ["publish"], lines)
    if parsed is None:
        refuse(*(line.replace(place(["publish"]), where) for line in lines))
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


def _misspelt(data: Mapping[str, Any]) -> None:
    """A host's data holds keys of others too, so only what is nearly one of ours can be called misspelt."""
    for key in data:
        if key not in KEYS:
            near = [known for known in KEYS if sorted(known) == sorted(str(key))]  # toolchian
            near = near or difflib.get_close_matches(str(key), KEYS, n=1, cutoff=0.85)
            if near:
                refuse(f"{key}: unknown key, nearly '{near[0]}'; rename it in {place([near[0]])}")


def _by_name(services: object) -> dict[str, dict[str, Any]]:
    if services is None:
        refuse("services: is required and missing; add services = load_services(folder) to group_data/all.py")
    if isinstance(services, Mapping):
        entries: list[Entry] = [(str(name), raw, ["services", str(name)]) for name, raw in services.items()]
    elif isinstance(services, (list, tuple)):
        entries = [("", raw, ["services", index]) for index, raw in enumerate(services)]
    else:
        refuse(f"services: should be a list or a mapping of services, got {kind(services)}; change it in group_data/")
    found: dict[str, dict[str, Any]] = {}
    for given, raw, where in entries:
        if not isinstance(raw, Mapping):
            text = f"{key_path(where)}: should be a mapping (key: value), got {kind(raw)}"
            refuse(f"{text}; change it in {place(where)}")
        name = raw.get("name", given or None)
        if not isinstance(name, str):
            problem = "is required and missing" if name is None else f"should be text, got {shown(name)}"
            refuse(f"{key_path([*where, 'name'])}: {problem}; add a name of lower case letters, digits and '-'")
        if given and name != given:
            refuse(f"{key_path([*where, 'name'])}: should be '{given}', as its key, got {shown(name)}; remove `name`")
        if name in found:
            refuse(f"{key_path(where)}.name: '{name}' is the name of two services; rename one in group_data/services")
        found[name] = {**raw, "name": name}
    return found


def _overrides(overrides: object, services: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    if not isinstance(overrides, Mapping):
        refuse(
            f"service_overrides: should be a mapping by service name, got {kind(overrides)}; change it in group_data/"
        )
    for name, override in overrides.items():
        where = key_path(["service_overrides", str(name)])
        if name not in services:
            known = ", ".join(services) or "none"
            hint = closest(str(name), list(services))
            remedy = f"rename or remove it in {place(['service_overrides'])}"
            refuse(f"{where}: no such service{hint}; known: {known}; {remedy}")
        if not isinstance(override, Mapping):
            refuse(f"{where}: should be a mapping (key: value), got {kind(override)}; change it in group_data/")
        if override.get("name", name) != name:
            refuse(
                f"{where}.name: a service cannot be renamed by an override; remove it in group_data/ or the inventory"
            )
    return dict(overrides)


def _validate(
    model: type[M], raw: object, where: list[str | int], lines: list[str], overrides: Mapping[str, Any] | None = None
) -> M | None:
    if isinstance(raw, model):
        return raw
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        for finding in error.errors(include_url=False):
            path, text, verb = explain(finding, model, raw if isinstance(raw, Mapping) else {})
            full = _origin([*where, *path], overrides or {})
            lines.append(f"{key_path(full)}: {text}" + (f"; {verb}" if verb else "") + f" in {place(full)}")
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
