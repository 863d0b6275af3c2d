"""The state of a host, read in one round trip and cached for all stages of a run.

`builder_state` and `target_state` read it, `forget` drops the cache when a step changes the host. The command lines and
the parsers are pure and live in `builder` and `release`; this room only runs them through pyinfra. A value that a run
needs of a host is a new field there, not a new fact here: each fact costs a round trip.
"""
