"""An embedded lab: Linux targets and Windows build hosts on one machine, as real as one machine allows.

It replaces only the hosts: no part of the product knows that it runs in a lab. `lab.py` is the lab, `host.py` the
common interface of hosts, `linux/` and `windows/` the two kinds, `foreign/` programs of other projects to build. The
product never imports the lab.

    with Lab.up("mine", targets=2, builders=0) as lab:
        lab.host("t1").cut()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.host import Host
    from lab.lab import Lab
    from lab.model import LabError

__all__ = ["Host", "Lab", "LabError"]

_HOMES = {"Host": "lab.host", "Lab": "lab.lab", "LabError": "lab.model"}


def __getattr__(name: str) -> Any:
    # Imported on demand: every pyinfra run imports lab.inventory, and nothing else of the lab (saves 0.1 s).
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
