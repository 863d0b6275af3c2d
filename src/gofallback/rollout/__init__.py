"""The order of a rollout and what is decided on its way. Pure: no host is asked here."""
