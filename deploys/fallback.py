"""The emergency: build on the standby Windows host, verify, and put the build on every target, or put all back.

pyinfra inventory.py deploys/fallback.py
pyinfra --dry --diff inventories/production.py deploys/fallback.py      # what would change, host by host
pyinfra inventories/production.py deploys/fallback.py --data ref=v1.2.3 --data reason="build farm down"
"""

from gofallback.deploys import activate, build, confirm, preflight, provision, release, report, source, verify

preflight("fallback")
provision()
source()
build()
verify()
release()
activate()
confirm()
report()
