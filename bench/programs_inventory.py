"""The lab's hosts, and one program in place of the example: group data of its own in GOFALLBACK_BENCH_PROGRAM."""

import json
import os

from lab import inventory as _lab

_data = _lab.data()
_service = json.loads(os.environ["GOFALLBACK_BENCH_PROGRAM"])
_data["services"] = [_service]
_data["service_overrides"] = {}

builders = _lab.builders()
targets = _lab.targets()
inventory = (_lab.everybody(), _data)
