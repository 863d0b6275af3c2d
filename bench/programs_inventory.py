"""The lab's hosts, with one program instead of the example. GOFALLBACK_BENCH_PROGRAM has its group data."""

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
