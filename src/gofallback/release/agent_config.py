"""The two JSON files of a release that the agent on the target reads (docs/agent.md). Pure."""

from __future__ import annotations

import json
from typing import Any

from gofallback.model import CommandCheck, Service

HEALTH = "conf/health.json"
ACTIVATION = "conf/activation.json"
#: Path of the agent's program in a release.
AGENT = "lib/gofallback-agent"


def health(service: Service) -> dict[str, Any]:
    """Content of health.json."""
    check = service.health.check.model_dump(mode="json")
    if isinstance(service.health.check, CommandCheck):
        check["user"] = service.user  # the agent itself runs as root
    return {
        "service": service.name,
        "release": None,
        "check": check,
        "timeout": service.health.timeout,
        "interval": service.health.interval,
        "start_deadline": service.health.start_deadline,
        "minimum_healthy": service.health.minimum_healthy,
    }


def activation(service: Service) -> dict[str, Any]:
    """Content of activation.json. Nothing in it changes from run to run, so it is part of the release's digest."""
    name = service.name
    socket = f"{name}.socket" if service.socket_activation else None
    main, timer = f"{name}.service", f"{name}-health.timer"
    return {
        "service": name,
        "home": service.home,
        "release": None,
        "run_id": None,
        "started_by": None,
        "units": [unit for unit in (main, socket, f"{name}-health.service", timer) if unit],
        "main_unit": main,
        "socket_unit": socket,
        "timer_unit": timer,
        "health": None,
        "keep_releases": service.keep_releases,
    }


def render(service: Service) -> dict[str, str]:
    """Both files, by path relative to the release folder."""
    contents = {HEALTH: health(service), ACTIVATION: activation(service)}
    return {path: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for path, content in contents.items()}


def check_arguments(home: str) -> list[str]:
    """Arguments of the agent for the health check of the live release, as the timer runs it."""
    return ["check", "-log", "-config", f"{home}/current/{HEALTH}"]
