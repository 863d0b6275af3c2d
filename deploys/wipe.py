"""Remove everything of gofallback from every builder, except `builder.wipe.keep`; the journal has the listing.

pyinfra inventories/production.py deploys/wipe.py
pyinfra inventories/production.py deploys/wipe.py --limit standby.example.net
"""

from gofallback.deploys import preflight, report, wipe

preflight("wipe")  # builders that answer
wipe()  # empty builders, and the listing that proves it
report()  # journal, report and exit status, however the run ends
