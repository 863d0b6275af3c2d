"""The rules of a rollout: waves, budget and decision, phases, resume, abort and rollback. Pure: only values, no hosts.

`phases` says what can become of a target, `waves` who is switched when, `decide` when a rollout stops, `resume` and
`rollback` what each target goes to, from the `records` of its agent. `deploys.rollout` applies them to a run.
May import model, release and ground. A new rule: a function here with a test; a new phase: a row in `phases`.
"""
