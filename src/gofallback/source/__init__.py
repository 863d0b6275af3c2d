"""The source of a service once it is named: refs, trees, addresses, and the git commands for a builder. Pure.

It may import `builder` and the model; nothing is run here. git itself is run by `gofallback.git` on the controller and
by `gofallback.operations.source` on a builder. A new complaint of git is one line in `git_errors`, with a test.
"""
