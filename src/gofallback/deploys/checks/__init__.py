"""May this run begin? Everything is checked before any host is changed; each check raises RefusedError with one line.

`readiness` is the list that preflight goes through; `prefetch` reads all hosts at once; `approvals` has freeze windows
and approvals, `approval_status` what `status` shows of them. May import rollout, releasing, building and run.
A new check: a function here, called by `readiness.check_run`, `check_target` or `check_builder`.
"""
