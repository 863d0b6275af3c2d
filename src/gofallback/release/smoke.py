"""The smoke command: it proves that a binary runs on a target before anything is switched. Pure."""

from __future__ import annotations

import re
import shlex

from gofallback.model import Service

#: Seconds the command may take.
LIMIT = 30
#: The transient unit sees only its release and the system's own programs, and has no network.
SANDBOX = {
    "DynamicUser": "yes",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateNetwork": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectControlGroups": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictNamespaces": "yes",
    "LockPersonality": "yes",
    "CapabilityBoundingSet": "",
    "SystemCallFilter": "@system-service",
    "SystemCallArchitectures": "native",
    "TemporaryFileSystem": "/var:ro /srv:ro /opt:ro",
    "InaccessiblePaths": "-/run/gofallback -/run/dbus",
    "MemoryMax": "1G",
    "TasksMax": "128",
    "WorkingDirectory": "/",
}


def script(service: Service, release: str, run_id: str) -> str:
    """The script that runs the smoke command of an uploaded release and exits with its status (124: timeout).

    Args:
        service: group data; `smoke` is not empty.
        release: folder name.
        run_id: makes the unit's name unique.
    """
    folder = f"{service.home}/releases/{release}"
    properties = SANDBOX | {"BindReadOnlyPaths": folder}
    options = " ".join(f"-p {shlex.quote(f'{name}={value}')}" for name, value in properties.items())
    unit = re.sub(r"[^A-Za-z0-9_.-]", "-", f"gofallback-smoke-{service.name}-{run_id}")
    command = shlex.join([f"{folder}/bin/{service.binary}", *service.smoke])
    return (
        "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        f"systemd-run --quiet --pipe --wait --collect --unit={unit} {options} timeout -k 2 {LIMIT} {command} </dev/null"
    )


def problem(service: Service, version: str, code: int, output: list[str]) -> str:
    """Why the smoke command failed, or "".

    Args:
        service: group data.
        version: replaces `{version}` in `smoke_expect`.
        code: exit status.
        output: its lines.
    """
    last = next((line.strip() for line in reversed(output) if line.strip()), "nothing")
    command = shlex.join([service.binary, *service.smoke])
    if any("Exec format error" in line for line in output):
        return f"{command}: the binary is not for this machine's processor (Exec format error)"
    if code == 124:
        return f"{command}: did not end within {LIMIT} s; last line: {last}"
    if code:
        return f"{command}: exit status {code}; last line: {last}"
    if service.smoke_expect is None:
        return ""
    pattern = service.smoke_expect.replace("{version}", re.escape(version))
    try:
        found = re.search(pattern, "\n".join(output), re.MULTILINE)
    except re.error as error:
        return f"services.{service.name}.smoke_expect: {pattern!r} is not a regular expression ({error}); correct it"
    return "" if found else f"{command}: printed {last!r}, expected {pattern!r}"
