"""A rehearsal: everything up to a verified artifact, and no target is touched.

pyinfra inventories/production.py deploys/drill.py
"""

from gofallback.deploys import build, preflight, provision, report, source, verify

preflight("drill")
provision()
source()
build()
verify()
report()
