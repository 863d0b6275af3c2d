"""Provision fresh standby builders, all of them, and nothing else: for ordinary days.

pyinfra inventories/production.py deploys/standby.py
"""

from gofallback.deploys import preflight, provision, report

preflight("standby")  # checked builders and pins
provision()  # the pinned toolchains on every builder
report()  # journal, report and exit status, however the run ends
