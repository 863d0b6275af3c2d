"""The lab's hosts, with the benchmark's repository instead of the example's."""

import os

from lab import inventory as _lab

_data = _lab.data()
_data["service_overrides"] = {"hello": {"source": {"repository": os.environ["GOFALLBACK_BENCH_REPOSITORY"]}}}

builders = _lab.builders()
targets = _lab.targets()
inventory = (_lab.everybody(), _data)
