"""How a run goes over the fleet: waves, leases, the switch of one target, pauses, broken connections.

The order and the decisions are in the pure `gofallback.rollout`; here they are applied to this run's hosts. May import
releasing, building and run. The next thing: a reason to stop goes into `waves.stop_reason` or `ctx.watchers`; a kind of
step into `waves.Step` and `activate.advance`; a new phase into `gofallback.rollout.phases`.
"""
