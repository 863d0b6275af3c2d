"""What go is to do on a builder, as specs, command lines and variables, and what its output means. Pure.

It may import `artifact`, `builder`, `source` and the model; it runs nothing. A command line is made in `plan`, its
variables in `environment` (with C: `cgo`). A new reason for failing builds is one rule in `failure_rules` or
`failure_cgo`, or in `module_failure` for the controller, with recorded output in tests/unit/gobuild/data/go-output.
"""
