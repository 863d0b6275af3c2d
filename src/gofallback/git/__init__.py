"""git on the controller: mirrors, the exact commit that a service means, bundles for builders, files of a commit.

It may import `source`, the model and the ground. Every git command goes through `git_command.git`, and everything that
writes to a mirror runs inside `Mirror.locked`. The stages call `resolve`; a new kind of repository is handled in
`fetch`, before its mirror is updated.
"""
