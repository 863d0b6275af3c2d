"""The end of a run that must not begin: one line on the screen, exit status 2.

pyinfra 3.10 puts "pyinfra error in FILE line N" (of this package) before the text of its own errors, and prints a
traceback for any other (pyinfra_cli/exceptions.py). A click exception prints itself with its `show`.
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
        kind: the class to raise under pyinfra's API; on the command line a subclass of it.
        text: one line: what, where, expectation, remedy.
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
