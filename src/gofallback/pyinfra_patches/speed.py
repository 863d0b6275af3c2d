"""Makes a run that changes nothing a fifth faster. Nothing here changes what a run does.

pyinfra 3.10 computes two values anew for every operation on every host: the types of its global arguments
(pyinfra/api/arguments.py, `all_global_arguments`; 1 ms each time, by typing.get_type_hints), and the place in the
deploy file (pyinfra/api/util.py, `get_operation_order_from_stack`, by `inspect.stack`). And Python's garbage collector
scans everything that a run has loaded many times, and once more at its end.
"""

from __future__ import annotations

import atexit
import functools
import gc
import inspect
from pathlib import Path

from pyinfra.api import arguments, facts


def quicken() -> None:
    """Compute the types of pyinfra's global arguments once; tune the garbage collector for a short run."""
    once = functools.cache(arguments.all_global_arguments)
    for module in (arguments, facts):
        module.all_global_arguments = once  # type: ignore[attr-defined]
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    atexit.register(gc.freeze)


def know_deploy_file(name: str | None) -> None:
    """Save `inspect.stack` a search for the deploy file.

    The deploy file is executed, not imported, so `inspect.getmodule` goes through every loaded module for it, without
    success, for each operation on each host.

    Args:
        name: the deploy file's name as pyinfra has it.
    """
    if name:
        inspect.modulesbyfile.setdefault(str(Path(name).absolute()), "__main__")
