"""Services as group data gives them, for tests."""

from __future__ import annotations

from typing import Any

from gofallback.model import Service

MINIMAL: dict[str, Any] = {
    "name": "hello",
    "source": {"repository": "https://git.example.net/hello.git"},
    "health": {"check": {"type": "http", "url": "http://127.0.0.1:8080/healthz"}},
}
FULL: dict[str, Any] = MINIMAL | {
    "name": "shop",
    "port": 443,
    "socket_activation": False,
    "root": "/srv/shop",
    "keep_releases": 3,
    "build": {"binary": "shopd"},
    "extra_files": {"shop.toml": 'title = "50% off"\n', "certs/ca.pem": "x\n"},
    "unit": {
        "description": "The shop, 100% of it",
        "type": "notify",
        "user": "www-shop",
        "arguments": ["-config", "conf with space", "-price=$5", "-rate=10%", 'say "hi"'],
        "environment": {"GREETING": 'hi "there" $HOME', "EMPTY": ""},
        "working_directory": "/srv/shop/data dir",
        "after": ["network-online.target", "postgresql.service"],
        "restart": "always",
        "restart_seconds": 2.5,
        "stop_timeout": 30,
        "memory_max": "512M",
        "tasks_max": 200,
        "cpu_quota": "150%",
        "open_files": 65536,
        "relax": ["MemoryDenyWriteExecute", "ProtectHome"],
        "directives": {"SystemCallFilter": "@system-service @mount", "WatchdogSec": "10"},
    },
    "health": {"check": {"type": "command", "argv": ["/usr/bin/true", "-x"]}, "watch_interval": 15},
}


def service(base: dict[str, Any] | None = None, **changes: Any) -> Service:
    """A service; ``changes`` replace top-level keys of ``base`` (default: MINIMAL)."""
    return Service.model_validate((base or MINIMAL) | changes)
