"""Health checks of a service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gofallback.model.base import Line, Strict

Port = Annotated[int, Field(ge=1, le=65535)]


class HttpCheck(Strict):
    """An HTTP(S) request from the target to itself."""

    type: Literal["http"] = Field(default="http", description="kind of the check")
    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] = Field(description="address, as seen from the target")
    status: Annotated[int, Field(ge=100, le=599)] = Field(default=200, description="status of a healthy service")
    body: Line | None = Field(default=None, description="RE2 pattern the body must contain")
    headers: dict[Line, Line] = Field(default_factory=dict, description="headers of the request")
    ca_file: Line | None = Field(default=None, description="PEM file on the target that signs the server's certificate")
    insecure: bool = Field(default=False, description="accept any certificate")


class TcpCheck(Strict):
    """A TCP connection from the target to itself."""

    type: Literal["tcp"] = Field(default="tcp", description="kind of the check")
    address: Annotated[str, Field(pattern=r"^\S+:\d{1,5}$", description="host:port")]


class CommandCheck(Strict):
    """A command on the target; exit status 0 means healthy."""

    type: Literal["command"] = Field(default="command", description="kind of the check")
    argv: Annotated[list[Line], Field(min_length=1)] = Field(
        description="absolute path of a program, and its arguments"
    )


Check = Annotated[HttpCheck | TcpCheck | CommandCheck, Field(discriminator="type")]


class Health(Strict):
    """One check and its times (Nomad's ``min_healthy_time`` and ``healthy_deadline``, with shorter defaults)."""

    check: Check = Field(description="the check")
    start_deadline: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=60.0,
        description="seconds after the restart within which the service has to be healthy for minimum_healthy",
    )
    interval: Annotated[float, Field(ge=0.05, le=300)] = Field(
        default=0.25, description="seconds between two checks during an activation"
    )
    timeout: Annotated[float, Field(gt=0, le=300)] = Field(default=2.0, description="seconds one check may take")
    minimum_healthy: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=3.0, description="seconds without a failed check after which the release counts as healthy"
    )
    watch_interval: Annotated[int, Field(ge=5, le=86400)] = Field(
        default=30, description="seconds between two checks of the timer that runs after the activation"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Health:
        if self.minimum_healthy >= self.start_deadline:
            raise ValueError(
                f"minimum_healthy ({self.minimum_healthy:g} s) should be shorter than "
                f"start_deadline ({self.start_deadline:g} s)"
            )
        return self
