"""``gofallback``: everything but the deploys.

Exit status: 0 all is well; 1 a problem was found or something cannot be read (a line on standard error says which);
2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gofallback.cli import approve, archive, attest, compare, journal, pause, pins, publish, report, verify
from gofallback.cli.command import exit_statuses, print_error
from gofallback.controller.identity import version
from gofallback.errors import GofallbackError

#: In the order of the help.
_COMMANDS = (report, approve, pause, journal, publish, archive, verify, attest, compare, pins)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command; the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except GofallbackError as error:
        print_error(str(error))
        return 1
    except BrokenPipeError:  # `gofallback report | head`
        sys.stderr.close()
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gofallback", description="Everything but the deploys, which pyinfra runs.", epilog=exit_statuses()
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version() or 'of an unknown version'}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.register(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
