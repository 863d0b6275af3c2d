"""One binary: the spec that decides its bytes, its manifest, its headers and build info, and comparisons of two. Pure.

It may import the model and the ground; it runs nothing. `binary.inspect` describes a file, `verify.problems` holds it
against its spec, `compat` against a target. A new field of `BuildSpec` counts in keys only when it differs from its
default. A new cause of differing builds is one generator in `differences` or `compare`.
"""
