"""The lab's hosts, with what one test wants on top: a JSON file that GOFALLBACK_TEST_DATA names.

`hello` in it overrides the service, `twin` is a second service of the same repository, `hosts` is data of single hosts,
`repository` stands in place of the lab's, and `dead_builder` puts one before the others that answers nobody.
"""

import copy
import json
import os
from pathlib import Path

from gofallback.inventory import services as _services
from lab import inventory as _lab

_wanted = json.loads(Path(os.environ["GOFALLBACK_TEST_DATA"]).read_text())
_data = _lab.data()
_source = _data["service_overrides"]["hello"]["source"]
_overrides = {**_wanted.pop("hello", {})}
_overrides["source"] = {**_overrides.get("source", {}), **_source}
if "repository" in _wanted:
    _overrides["source"]["repository"] = _wanted.pop("repository")
_twin, _hosts = _wanted.pop("twin", None), _wanted.pop("hosts", {})
if _twin is not None:
    _hello = next(one for one in _services(Path("group_data/services")) if one["name"] == "hello")
    _second = copy.deepcopy({**_hello, "name": "twin", "port": 8181, **_twin})
    _second["source"] = {**_second["source"], **_source}
    _wanted["services"] = [_hello, _second]


def _entries(hosts):
    return [(name, {**data, **_hosts.get(name.rpartition("/")[2], {})}) for name, data in hosts]


builders = _entries(_lab.builders())
if _wanted.pop("dead_builder", False):
    _first = {**builders[0][1], "ssh_port": 9}
    builders = [("@winssh/w0", _first), *builders]
targets = _entries(_lab.targets())
fleet_inventory = (
    [name for name, _ in (*builders, *targets)],
    {**_data, **_wanted, "service_overrides": {"hello": _overrides}},
)
