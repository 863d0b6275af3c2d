"""The systemd unit of a service, and the hardening profile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from gofallback.model.base import AbsolutePath, EnvName, Line, Name, Strict

#: Directives of the hardening profile and their values (systemd.exec(5)); `relax` of a service names exceptions.
HARDENING: dict[str, str] = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectProc": "invisible",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "CapabilityBoundingSet": "",
    "UMask": "0077",
}

Size = Annotated[str, Field(pattern=r"^(\d+[KMGT]?|infinity)$")]


class Unit(Strict):
    """The systemd unit. Values only: the template makes no decision."""

    description: Line | None = Field(default=None, description="Description=; default: the service's name")
    type: Literal["simple", "exec", "notify"] = Field(default="exec", description="Type= (systemd.service(5))")
    user: Name | None = Field(default=None, description="system user; default: the service's name")
    arguments: list[Line] = Field(default_factory=list, description="arguments of the binary")
    environment: dict[EnvName, Line] = Field(default_factory=dict, description="written to the environment file")
    working_directory: AbsolutePath | None = Field(default=None, description="WorkingDirectory=")
    after: list[Line] = Field(
        default_factory=lambda: ["network-online.target"], description="units that start before it (After=)"
    )
    restart: Literal["no", "on-failure", "always"] = Field(default="on-failure", description="Restart=")
    restart_seconds: Annotated[float, Field(ge=0.1, le=600)] = Field(
        default=1.0, description="seconds between its exit and the next start (RestartSec=)"
    )
    stop_timeout: Annotated[int, Field(ge=1, le=3600)] = Field(default=20, description="seconds until SIGKILL")
    memory_max: Size | None = Field(default=None, description="MemoryMax=")
    tasks_max: Annotated[int, Field(ge=1)] | None = Field(default=None, description="TasksMax=: processes and threads")
    cpu_quota: Annotated[str, Field(pattern=r"^\d+%$")] | None = Field(
        default=None, description="CPUQuota=: 100% is one core"
    )
    open_files: Annotated[int, Field(ge=16)] | None = Field(default=None, description="LimitNOFILE=")
    relax: list[str] = Field(default_factory=list, description="directives of the hardening profile to omit")
    directives: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+$")], Line] = Field(
        default_factory=dict, description="more [Service] directives; they override the profile"
    )

    @field_validator("relax")
    @classmethod
    def _known_directive(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in HARDENING:
                raise ValueError(
                    f"should name directives of the hardening profile ({', '.join(HARDENING)}), not {name!r}"
                )
        return value
