"""Back to the last good release, on every target, from what is on the targets themselves.

pyinfra inventories/production.py deploys/rollback.py
pyinfra inventories/production.py deploys/rollback.py --data release=v1.2.2-1a2b3c4d
"""

from gofallback.deploys import activate, confirm, preflight, report

preflight("rollback")
activate()
confirm()
report()
