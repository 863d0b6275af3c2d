"""A repeatable rollout of an artifact that exists. No builder takes part.

pyinfra inventories/production.py deploys/rollout.py --data version=v1.2.3
"""

from gofallback.deploys import activate, confirm, preflight, release, report

preflight("rollout")
release()
activate()
confirm()
report()
