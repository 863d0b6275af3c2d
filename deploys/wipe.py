"""Take everything of ours off every builder, but for what `builder.wipe.keep` names; the journal has the listing.

pyinfra inventories/production.py deploys/wipe.py
pyinfra inventories/production.py deploys/wipe.py --limit standby.example.net
"""

from gofallback.deploys import preflight, report, wipe

preflight("wipe")
wipe()
report()
