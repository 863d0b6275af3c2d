"""pyinfra's configuration for this project (docs.pyinfra.com, "Config")."""

REQUIRE_PYINFRA_VERSION = ">=3.10,<3.11"
# Seconds until a host counts as unreachable: at 3 am nobody waits for the kernel's two minutes.
CONNECT_TIMEOUT = 10
