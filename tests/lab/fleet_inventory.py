"""The lab's hosts, with what one test wants on top: a JSON file that GOFALLBACK_TEST_DATA names."""

import json
import os
from pathlib import Path

from lab import inventory as _lab

_wanted = json.loads(Path(os.environ["GOFALLBACK_TEST_DATA"]).read_text())
_data = _lab.data()
_overrides = {**_wanted.pop("hello", {})}
_overrides["source"] = {**_overrides.get("source", {}), **_data["service_overrides"]["hello"]["source"]}

builders = _lab.builders()
targets = _lab.targets()
fleet_inventory = (_lab.everybody(), {**_data, **_wanted, "service_overrides": {"hello": _overrides}})
