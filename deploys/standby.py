"""Ordinary days: provision fresh standby builders, all of them, and nothing else.

pyinfra inventories/production.py deploys/standby.py
"""

from gofallback.deploys import preflight, provision, report

preflight("standby")
provision()
report()
