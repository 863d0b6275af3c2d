"""How a run that must not begin ends: one line on the screen, exit status 2.

pyinfra 3.10 puts "pyinfra error in FILE line N" (of this package) before the words of its own errors, and prints a
traceback for anything else (pyinfra_cli/exceptions.py). It asks a click exception how it wants to be shown.
"""

from __future__ import annotations

import sys
from typing import cast

from pyinfra import logger
from pyinfra.api.exceptions import PyinfraError

from gofallback.rollout.phases import EXIT_STATUS


def refusal(kind: type[PyinfraError], text: str) -> PyinfraError:
    """The exception that ends a run which has changed nothing.

    Args:
        kind: what to raise under pyinfra's API; on the command line it is that as well.
        text: one line: what, where, what was expected, what to do next.
    """
    # Not imported here: pyinfra_cli patches the standard library for gevent when it is imported.
    if "pyinfra_cli.exceptions" not in sys.modules:
        return kind(text)
    from pyinfra_cli.exceptions import CliError

    def show(self: PyinfraError, file: object = None) -> None:
        logger.error(f"--> refused: {text}")

    return cast(
        PyinfraError, type("Refusal", (kind, CliError), {"show": show, "exit_code": EXIT_STATUS["refused"]})(text)
    )
