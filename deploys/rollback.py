"""Bring every target back to the last good release, from the releases on the targets alone.

pyinfra inventories/production.py deploys/rollback.py
pyinfra inventories/production.py deploys/rollback.py --data release=v1.2.2-1a2b3c4d
"""

from gofallback.deploys import activate, confirm, preflight, report

preflight("rollback")  # checked targets, the release to go back to, a lease on every target
activate()  # that release live on every target
confirm()  # every target checked once more, over a new connection
report()  # journal, report and exit status, however the run ends
