"""Renders the text files of a release from group data. Python decides, the templates only print. No I/O, no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined, TemplateError

from gofallback.model import DataError, Service
from gofallback.model.unit import HARDENING
from gofallback.release import agent_config, systemd
from gofallback.release.extra_file import ExtraFile

#: Directives that gofallback sets itself; `unit.directives` may not set them.
OWNED = frozenset({"ExecStart", "User", "EnvironmentFile", "SyslogIdentifier", "LogsDirectory", "StateDirectory"})
#: Files that only root may read (systemd and the agent do): they may hold passwords and tokens.
PRIVATE = frozenset({"conf/environment", "conf/health.json"})
#: Below this a port needs a capability (ip(7), ip_unprivileged_port_start).
FIRST_UNPRIVILEGED_PORT = 1024


@dataclass(frozen=True)
class Rendered:
    """One file of a release: its bytes and its mode."""

    content: bytes
    mode: int = 0o644

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode()

    @property
    def sha256(self) -> str:
        """64 hex digits."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class ReleaseFiles:
    """The files of a release that come from group data; the upload adds binaries, agent and manifest.json."""

    id: str
    """``<version>-<digest8>``, the name of the folder."""
    service: str
    home: str
    version: str
    files: Mapping[str, Rendered]
    """By path relative to the release folder."""
    extra_files: Mapping[str, ExtraFile] = field(default_factory=dict)
    """Files of `files` in group data, by path."""

    @property
    def folder(self) -> str:
        """Absolute path of the release on a target."""
        return f"{self.home}/releases/{self.id}"

    @property
    def units(self) -> dict[str, Rendered]:
        """The systemd units, by file name, that are installed into /etc/systemd/system."""
        names = {path.removeprefix("conf/"): file for path, file in self.files.items()}
        return {name: file for name, file in names.items() if name in unit_names(self.service)}


def unit_names(service: str) -> tuple[str, ...]:
    """File names that a service's units can have."""
    return (f"{service}.service", f"{service}.socket", f"{service}-health.service", f"{service}-health.timer")


def release_id(version: str, digest: str) -> str:
    """Name of a release folder."""
    return f"{version}-{digest[:8]}"


def _write(service: Service, key: str, value: str, write: Any) -> str:
    try:
        return str(write(value))
    except systemd.UnitValueError as error:
        raise DataError(f"services.{service.name}.{key}: {value!r} {error}") from None


def _hardening(service: Service) -> list[str]:
    unit = service.unit
    profile = {k: v for k, v in HARDENING.items() if k not in unit.relax and k not in unit.directives}
    low_port = service.port is not None and service.port < FIRST_UNPRIVILEGED_PORT and not service.socket_activation
    if low_port:
        if "CapabilityBoundingSet" in profile:
            profile["CapabilityBoundingSet"] = "CAP_NET_BIND_SERVICE"
        if "AmbientCapabilities" not in unit.directives:
            profile["AmbientCapabilities"] = "CAP_NET_BIND_SERVICE"
    return [f"{name}={value}" for name, value in profile.items()]


def _limits(service: Service) -> list[str]:
    unit = service.unit
    values = {
        "MemoryMax": unit.memory_max,
        "TasksMax": unit.tasks_max,
        "CPUQuota": unit.cpu_quota,
        "LimitNOFILE": unit.open_files,
    }
    return [f"{name}={value}" for name, value in values.items() if value is not None]


def _directives(service: Service) -> list[str]:
    lines = []
    for name, value in service.unit.directives.items():
        if name in OWNED:
            raise DataError(
                f"services.{service.name}.unit.directives.{name}: is set by gofallback; remove it "
                f"(arguments go to unit.arguments, the environment to unit.environment, the user to unit.user)"
            )
        lines.append(f"{name}={_write(service, f'unit.directives.{name}', value, systemd.verbatim)}")
    return lines


def _context(service: Service) -> dict[str, Any]:
    unit, name, home = service.unit, service.name, service.home

    def text(key: str, value: str) -> str:
        return _write(service, key, value, systemd.text)

    after = [text("unit.after", value) for value in unit.after]
    arguments = [_write(service, "unit.arguments", value, systemd.argument) for value in unit.arguments]
    current = _write(service, "root", f"{home}/current", systemd.program)
    health = [current + "/lib/gofallback-agent", *agent_config.check_arguments(home)]
    return {
        "name": name,
        "description": text("unit.description", unit.description or name),
        "after": " ".join(after + ([f"{name}.socket"] if service.socket_activation else [])),
        "wants": " ".join(value for value in after if value == "network-online.target"),
        "type": unit.type,
        "user": service.user,
        "working_directory": text("unit.working_directory", unit.working_directory or f"/var/lib/{name}"),
        "environment_file": f"{current}/conf/environment",
        "exec_start": " ".join([f"{current}/bin/{service.binary}", *arguments]),
        "restart": unit.restart,
        "restart_seconds": f"{unit.restart_seconds:g}",
        "stop_timeout": unit.stop_timeout,
        "limits": _limits(service),
        "hardening": _hardening(service),
        "directives": _directives(service),
        "port": service.port,
        "health_exec": systemd.command(health[0], health[1:]),
        "health_timeout": f"{service.health.timeout + 10:g}",
        "watch_interval": service.health.watch_interval,
        "environment": [
            _write(service, f"unit.environment.{key}", value, lambda v, k=key: systemd.environment_line(k, v))
            for key, value in unit.environment.items()
        ],
    }


@cache
def _environment(templates: tuple[tuple[str, str], ...]) -> Environment:
    return Environment(
        loader=DictLoader(dict(templates)),
        undefined=StrictUndefined,
        autoescape=False,  # unit files, not HTML
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _texts(service: Service, templates: Mapping[str, str]) -> dict[str, str]:
    environment = _environment(tuple(sorted(templates.items())))
    names = {
        f"{service.name}.service": "service.service.j2",
        f"{service.name}-health.service": "health.service.j2",
        f"{service.name}-health.timer": "health.timer.j2",
        "environment": "environment.j2",
    }
    if service.socket_activation:
        names[f"{service.name}.socket"] = "service.socket.j2"
    context = _context(service)
    texts = {}
    for name, template in names.items():
        try:
            texts[f"conf/{name}"] = environment.get_template(template).render(context)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            where = f"templates/{template}" + (f" line {line}" if line else "")
            raise DataError(
                f"{where}: {error.message or error}; correct the template or remove your copy of it"
            ) from None
    return texts


def _conf_files(service: Service, taken: Mapping[str, str]) -> dict[str, str]:
    """Texts of `extra_files` in group data, which go to conf/."""
    files = {}
    for path, content in service.extra_files.items():
        clean = "/".join(part for part in path.split("/") if part not in ("", "."))
        full = f"conf/{clean}"
        if not clean or full in taken:
            raise DataError(
                f"services.{service.name}.extra_files.{path}: is a name that gofallback uses; choose another"
            )
        files[full] = content
    return files


def _check_paths(service: Service, extra_files: Mapping[str, ExtraFile], taken: Iterable[str]) -> None:
    """Reject an extra file at the path of a file or folder that is taken already."""
    used = dict.fromkeys((*taken, agent_config.AGENT), "gofallback uses")
    for path in sorted(extra_files):
        for other in used:
            if path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/"):
                raise DataError(
                    f"services.{service.name}.files: {path} is in the way of {other}, which {used[other]}; choose "
                    "another name"
                )
        used[path] = "`files` names too"


def _digest(keys: Iterable[str], files: Mapping[str, Rendered], extra_files: Mapping[str, ExtraFile]) -> str:
    """The digest that the name of a release ends with."""
    digest = hashlib.sha256("".join(f"{key}\n" for key in keys).encode())
    for path, file in files.items():
        digest.update(f"{path}\0{len(file.content)}\0".encode() + file.content)
    for path, extra in sorted(extra_files.items()):
        digest.update(f"{path}\0{extra.mode:o}\0{extra.sha256}\n".encode())
    return digest.hexdigest()


def render(
    service: Service,
    *,
    version: str,
    artifact_key: str,
    agent_key: str,
    templates: Mapping[str, str],
    extra_binaries: Mapping[str, str] = MappingProxyType({}),
    extra_files: Mapping[str, ExtraFile] = MappingProxyType({}),
) -> ReleaseFiles:
    """Render all text files of one release.

    Args:
        service: the parsed group data.
        version: of the sources, already cleaned (docs/architecture.md, Names).
        artifact_key: `BuildSpec.key` of the service's binary, known before the build.
        agent_key: `BuildSpec.key` of the agent's binary.
        templates: from `release.templates.load`.
        extra_binaries: `BuildSpec.key` of each extra binary, by name.
        extra_files: files of `files` in group data, by path.

    Raises:
        DataError: a value that no unit file can hold, or a template with an unknown name.
    """
    texts = _texts(service, templates) | agent_config.render(service)
    texts |= _conf_files(service, texts)
    files = {
        path: Rendered(content.encode(), 0o600 if path in PRIVATE else 0o644) for path, content in sorted(texts.items())
    }
    _check_paths(service, extra_files, files)
    keys = [artifact_key, agent_key, *(f"{name} {key}" for name, key in sorted(extra_binaries.items()))]
    name = release_id(version, _digest(keys, files, extra_files))
    return ReleaseFiles(
        name, service.name, service.home, version, MappingProxyType(files), MappingProxyType({**extra_files})
    )
