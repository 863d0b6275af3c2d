"""Steps on targets: leases, uploads, the smoke test, activations.

Scripts and the parsers of their output are pure, in `release` and `lease`; here they run, over a `TargetCommand` that is
read while it runs. Every step accepts a broken connection: the target decides alone, the step rejoins or reports it. A
new step is a module here that raises or reports one line, and never changes what runs without the lease.
"""
