"""The hosts of a running lab as pyinfra inventory entries."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Entry = tuple[str, dict[str, Any]]


def _record() -> dict[str, Any]:
    cache = Path(os.environ.get("GOFALLBACK_CACHE") or Path.home() / ".cache" / "gofallback")
    name = os.environ.get("GOFALLBACK_LAB", "demo")
    path = cache / "labs" / name / "lab.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        from pyinfra.api.exceptions import InventoryError

        from gofallback.pyinfra_patches.refusal import refusal

        raise refusal(InventoryError, f"the lab {name!r} is not up; run: make lab-up LAB={name}") from None
    return record


def _entry(connector: str, host: dict[str, Any], record: dict[str, Any]) -> Entry:
    data = {
        "ssh_hostname": host["address"],
        "ssh_port": host["port"],
        "ssh_user": host["user"],
        "ssh_key": record["key"],
        "ssh_known_hosts_file": record["known_hosts"],
        "ssh_strict_host_key_checking": "yes",
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
    }
    return f"@{connector}/{host['name']}", data


def builders() -> list[Entry]:
    """The lab's builders: Windows hosts, then Linux ones."""
    record = _record()
    return [_builder(host, record) for host in record["builders"]]


def _builder(host: dict[str, Any], record: dict[str, Any]) -> Entry:
    if host["os"] == "windows":
        return _entry("winssh", host, record)
    name, data = _entry("linssh", host, record)
    return name, {**data, "builder": {"os": "linux", "root": f"/home/{host['user']}/gofallback"}}


def targets() -> list[Entry]:
    """The lab's Linux hosts."""
    record = _record()
    return [_entry("linssh", host, record) for host in record["targets"]]


def everybody() -> list[str]:
    """Names of all hosts, for the inventory's own group. Its data overrides that of `builders` and `targets`."""
    return [name for name, _ in (*builders(), *targets())]


def data() -> dict[str, Any]:
    """The lab's group data: its own repository, and pins of the archives that it made."""
    record = _record()
    pins = [*_pins(record["toolchains"]), *_pins(record["linux_toolchains"], os="linux", kind="tar")]
    repository = record["example"]["repository"]
    return {
        "environment": "lab",
        "service_overrides": {"hello": {"source": {"repository": repository}}},
        **({"toolchain": {**_versions(record), "pins": pins}} if pins else {}),
    }


def _pins(toolchains: dict[str, dict[str, dict[str, str]]], **where: str) -> list[dict[str, str]]:
    return [
        {"tool": tool, "version": version, "url": Path(entry["file"]).as_uri(), "sha256": entry["sha256"], **where}
        for tool, versions in toolchains.items()
        for version, entry in versions.items()
    ]


def _versions(record: dict[str, Any]) -> dict[str, str]:
    # The first version is the lab's default. The second is for upgrades.
    windows, linux = (
        {tool: next(iter(versions)) for tool, versions in record[kind].items()}
        for kind in ("toolchains", "linux_toolchains")
    )
    return {**linux, **windows, **({"linux_git": linux["git"]} if linux else {})}
