"""Roll out an artifact from the store, again or to other targets. No builder is needed.

pyinfra inventories/production.py deploys/rollout.py --data version=v1.2.3
"""

from gofallback.deploys import activate, confirm, preflight, release, report

preflight("rollout")  # checked targets, the stored artifacts, a lease on every target
release()  # the release in its own folder on every target; what runs there is untouched
activate()  # the release live and provisional, wave after wave
confirm()  # one verdict for the fleet: every target confirmed, or back
report()  # journal, report and exit status, however the run ends
