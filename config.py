"""pyinfra's configuration for this project (docs.pyinfra.com, "Config")."""

import sys as _sys

# pyinfra tells Python not to store compiled code (pyinfra_cli/main.py). With a new or updated checkout, every run would
# compile the whole package again.
_sys.dont_write_bytecode = bool(_sys.flags.dont_write_bytecode)

from gofallback.pyinfra_patches.empty_run import refuse_empty_run as _refuse_empty_run  # noqa: E402

REQUIRE_PYINFRA_VERSION = ">=3.10,<3.11"
# Seconds until a host counts as unreachable. The kernel's default is two minutes.
CONNECT_TIMEOUT = 10
# Without any host (a misspelt inventory or --limit), pyinfra would exit 0.
_refuse_empty_run()
