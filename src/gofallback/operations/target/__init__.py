"""Steps on targets: leases, uploads, the smoke test, activations.

Scripts and the parsers of their output are pure, in `release` and `lease`; here they run over a `TargetCommand`, which
is read while it runs. A broken connection is expected: the target decides alone, and the step rejoins or reports it. A
new step is a module here; it changes nothing on a target without its lease.
"""
