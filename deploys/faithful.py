"""Is the standby builder a faithful replacement? It builds what runs in production, and the bytes are compared.

pyinfra inventories/production.py deploys/faithful.py
"""

from gofallback.deploys import build, faithful, preflight, provision, report, source

preflight("faithful")  # the live releases of the targets, and how each was built
provision()  # the toolchains that built them
source()  # their commits on the builder, as clean work trees
build()  # each binary built again, still on the builder
faithful()  # the bytes compared with those on the targets; the answer
report()  # journal, report and exit status, however the run ends
