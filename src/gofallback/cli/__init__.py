"""The ``gofallback`` command: everything but the deploys, which pyinfra runs.

One module a command, with a ``register`` function that `main` calls; `command` has what the commands share. May import
everything but ``deploys`` and ``operations``. A new command: one module here, one name in ``main._COMMANDS``; a test
finds flags in the docs that do not exist. `reference` is no command: it writes docs/group-data.md.
"""
