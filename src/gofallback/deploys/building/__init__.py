"""What is built, on which builder, and whether the result is the same elsewhere.

`specs` and `plan` say what is built; `modules` and `cgo` what a build needs besides; `twin`, `comparison` and `attest`
compare with a second builder; `production`, `foreign`, `untrusted` and `known_good` rebuild what runs on the targets;
`cleanup` wipes a builder. May import run.
A new property of a build: a field of `artifact.spec.BuildSpec`, set in `gobuild.plan`; here only if hosts decide it.
"""
