"""Checks between the parts of one host's group data."""

from __future__ import annotations

from collections.abc import Mapping

from gofallback.model.builder import Toolchain
from gofallback.model.error_text import suggestion
from gofallback.model.errors import file_of, refuse
from gofallback.model.publish import Publish
from gofallback.model.service import Service
from gofallback.model.target import Target


def require_consistent(services: Mapping[str, Service], target: Target, toolchain: Toolchain | None) -> None:
    """Ports are unique, targets name known services, and every toolchain in use has a pin.

    Raises:
        DataError: one line per problem.
    """
    lines: list[str] = _unpinned(services, toolchain) if toolchain else []
    ports: dict[int, str] = {}
    for name, service in services.items():
        if service.port is None:
            continue
        other = ports.setdefault(service.port, name)
        if other != name:
            text = f"services.{name}.port: {service.port} is also the port of '{other}'"
            lines.append(f"{text}; give each service its own in group_data/services/{name}.yml")
    for index, name in enumerate(target.services or []):
        if name not in services:
            known = ", ".join(services) or "none"
            text = f"target.services[{index}]: no such service '{name}'{suggestion(name, list(services))}"
            lines.append(f"{text}; known: {known}; change it in {file_of(['target'])}")
    if lines:
        refuse(*lines)


def require_pull_store(target: Target, publish: Publish | None) -> None:
    """A target that pulls has a store that it can reach.

    Raises:
        DataError: it has none.
    """
    if target.delivery != "pull":
        return
    if publish is None:
        refuse(
            "target.delivery: pull needs a store to pull from; name one with publish.stores in "
            "group_data/all.py (docs/pulling.md), or push"
        )
    known, name = ", ".join(publish.stores), publish.store_name(target.pull_from)
    if name is None:
        refuse(
            f"target.pull_from: is missing, and publish has several stores and no default; name one of them: {known}"
        )
    if name not in publish.stores:
        text = f"target.pull_from: no such store '{name}'{suggestion(name, list(publish.stores))}; known: {known}"
        refuse(f"{text}; change it in {file_of(['target'])}")
    if publish.stores[name].url.startswith("file://"):
        refuse(
            f"target.delivery: pull from publish.stores.{name} is impossible: {publish.stores[name].url} is a folder "
            "of the controller; name a store with s3:// or https:// (target.pull_from), or push"
        )


def _unpinned(services: Mapping[str, Service], toolchain: Toolchain) -> list[str]:
    pinned = sorted({pin.version for pin in toolchain.pins if pin.tool == "go"})
    compilers = [
        f"services.{name}.build.cgo: its compiler is Zig, but toolchain.zig names none; set it, and add its version, "
        f"url and sha256 to toolchain.pins (tool: zig) in {file_of(['toolchain'])}"
        for name, service in services.items()
        if service.build.cgo and service.build.cgo.compiler == "zig" and toolchain.zig is None
    ]
    return compilers + [
        f"services.{name}.build.go: Go {service.build.go} has no pin (pinned: {', '.join(pinned)}); "
        f"add its version, url and sha256 to toolchain.pins in {file_of(['toolchain'])}"
        for name, service in services.items()
        if service.build.go and service.build.go not in pinned
    ]
