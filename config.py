"""pyinfra's configuration for this project (docs.pyinfra.com, "Config")."""

import sys as _sys

# pyinfra tells Python to keep nothing of what it compiles (pyinfra_cli/main.py); of a checkout that is new, or was just
# updated, every run would compile the whole package again.
_sys.dont_write_bytecode = bool(_sys.flags.dont_write_bytecode)

from gofallback.pyinfra_patches.empty_run import refuse_empty_run as _refuse_nobody  # noqa: E402

REQUIRE_PYINFRA_VERSION = ">=3.10,<3.11"
# Seconds until a host counts as unreachable: at 3 am nobody waits for the kernel's two minutes.
CONNECT_TIMEOUT = 10
# A misspelt inventory or --limit leaves no host; pyinfra would exit 0.
_refuse_nobody()
