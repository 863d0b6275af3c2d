"""The lab's hosts with one service that has C in it; GOFALLBACK_TEST_DATA names a JSON file with its `build`."""

import json
import os
from pathlib import Path

from lab import inventory as _lab
from lab import sqlite as _sqlite

_wanted = json.loads(Path(os.environ["GOFALLBACK_TEST_DATA"]).read_text())
_service = {
    "name": "sums",
    "source": {"repository": str(_sqlite.repository(lambda line: None)), "ref": _sqlite.VERSION},
    "build": {"version_variable": "main.version", "modules": "vendor", "timeout": 1800, **_wanted["build"]},
    "unit": {"arguments": ["-listen", ":8080"]},
    "port": 8080,
    "smoke": ["-sum", "40,2"],
    "smoke_expect": "sums {version} sum 42 sqlite",
    "health": {
        "check": {"type": "tcp", "address": "127.0.0.1:8080"},
        "start_deadline": 10,
        "interval": 0.1,
        "minimum_healthy": 1.0,
        "timeout": 2,
    },
}
builders = _lab.builders()
targets = _lab.targets()
_data = _lab.data()
sums_inventory = (
    [name for name, _ in (*builders, *targets)],
    {"services": [_service], "environment": "lab", "toolchain": _data["toolchain"]},
)
