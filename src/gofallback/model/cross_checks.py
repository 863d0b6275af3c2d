"""What the parts of one host's group data demand of each other."""

from __future__ import annotations

from collections.abc import Mapping

from gofallback.model.builder import Toolchain
from gofallback.model.error_text import closest
from gofallback.model.errors import place, refuse
from gofallback.model.publish import Publish
from gofallback.model.service import Service
from gofallback.model.target import Target


def consistent(services: Mapping[str, Service], target: Target | None, toolchain: Toolchain | None) -> None:
    """Ports are the services' own, targets name known services, and what compiles has its pins.

    Raises:
        DataError: one line per finding.
    """
    lines: list[str] = _unpinned(services, toolchain) if toolchain else []
    ports: dict[int, str] = {}
    for name, service in services.items():
        if service.port is None:
            continue
        other = ports.setdefault(service.port, name)
        if other != name:
            where = f"services.{name}.port: {service.port} is also the port of '{other}'"
            lines.append(f"{where}; give each service its own in group_data/services/{name}.yml")
    for index, wanted in enumerate((target.services or []) if target else []):
        if wanted not in services:
            known = ", ".join(services) or "none"
            text = f"target.services[{index}]: no such service '{wanted}'{closest(wanted, list(services))}"
            lines.append(f"{text}; known: {known}; change it in {place(['target'])}")
    if lines:
        refuse(*lines)


def pullable(target: Target | None, publish: Publish | None) -> None:
    """Targets that pull need a store that they can reach.

    Raises:
        DataError: they have none.
    """
    if target is None or target.delivery != "pull":
        return
    if publish is None:
        refuse(
            "target.delivery: pull needs a store that is pulled from; name one with publish.stores in "
            "group_data/all.py (docs/pulling.md), or push"
        )
    known, name = ", ".join(publish.stores), publish.chosen(target.pull_from)
    if name is None:
        refuse(
            f"target.pull_from: is missing, and publish has several stores and no default; name one of them: {known}"
        )
    if name not in publish.stores:
        text = f"target.pull_from: no such store '{name}'{closest(name, list(publish.stores))}; known: {known}"
        refuse(f"{text}; change it in {place(['target'])}")
    if publish.stores[name].url.startswith("file://"):
        refuse(
            f"target.delivery: pull from publish.stores.{name} cannot be: {publish.stores[name].url} is a folder of "
            "the controller; name a store with s3:// or https:// (target.pull_from), or push"
        )


def _unpinned(services: Mapping[str, Service], toolchain: Toolchain) -> list[str]:
    pinned = sorted({pin.version for pin in toolchain.pins if pin.tool == "go"})
    compilers = [
        f"services.{name}.build.cgo: its compiler is Zig, but toolchain.zig names none; set it, and add its version, "
        f"url and sha256 to toolchain.pins (tool: zig) in {place(['toolchain'])}"
        for name, service in services.items()
        if service.build.cgo and service.build.cgo.compiler == "zig" and toolchain.zig is None
    ]
    return compilers + [
        f"services.{name}.build.go: Go {service.build.go} has no pin (pinned: {', '.join(pinned)}); "
        f"add its version, url and sha256 to toolchain.pins in {place(['toolchain'])}"
        for name, service in services.items()
        if service.build.go and service.build.go not in pinned
    ]
