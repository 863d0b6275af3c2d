"""pyinfra's configuration for this project (docs.pyinfra.com, "Config")."""

from gofallback.nobody import refuse_nobody as _refuse_nobody

REQUIRE_PYINFRA_VERSION = ">=3.10,<3.11"
# Seconds until a host counts as unreachable: at 3 am nobody waits for the kernel's two minutes.
CONNECT_TIMEOUT = 10
# A misspelt inventory or --limit leaves no host; pyinfra would exit 0.
_refuse_nobody()
