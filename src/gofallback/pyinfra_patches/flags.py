"""pyinfra's own command line options, readable everywhere.

pyinfra 3.10 keeps them in click's context (pyinfra_cli/cli.py), which is one per thread. Under gevent each greenlet
counts as a thread, so operations and exit handlers do not see it: there the command line itself is read.
"""

from __future__ import annotations

import sys
from typing import Any

import click


def cli_parameters() -> dict[str, Any]:
    """pyinfra's own command line options; empty under its API."""
    context = click.get_current_context(silent=True)
    if context is not None:
        return dict(context.params)
    flags = {"--no-wait": "no_wait", "--serial": "serial", "--json": "json_output", "--dry": "dry"}
    flags["--fail-percent"] = "fail_percent"
    given = {argument.partition("=")[0] for argument in sys.argv}
    return {name: True for flag, name in flags.items() if flag in given}
