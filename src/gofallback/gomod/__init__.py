"""The go command on the controller, which downloads a commit's modules and verifies them with its go.sum.

It may import `git`, `controller`, `gobuild` and everything below. `download` is the entry: it runs `go_command` through
`run`, with the credentials of `credentials`. A new way to log in belongs to `credentials`; a new reason for a failing
download is one rule in `gofallback.gobuild.module_failure`.
"""
