"""Is the standby builder a faithful replacement? It builds what runs in production, and its bytes are compared.

pyinfra inventories/production.py deploys/faithful.py
"""

from gofallback.deploys import build, faithful, preflight, provision, report, source

preflight("faithful")
provision()
source()
build()
faithful()
report()
