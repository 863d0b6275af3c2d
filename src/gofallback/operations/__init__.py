"""Steps on builders, and in `target/` on targets: each brings a host to a state, and checks it there.

A step takes `(state, host, ...)`, returns whether it succeeded, and has logged one red line if not (`remote.fail`). An
`@operation` on top plans it from cached facts, without a round trip. Steps know no run: deploys/ decides when and why.
Command lines come from `builder.shell` and `release`, hosts are reached through `remote` (builders) and
`target.channel` (targets). A new step on builders is a module here; go commands belong to `gocmd` and `job`.
"""
