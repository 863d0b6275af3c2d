"""What is built on the builders just now, detached, and what was; ends it when asked.

pyinfra --limit builders inventories/production.py deploys/builds.py
pyinfra --limit builders inventories/production.py deploys/builds.py --data cancel=all
"""

from gofallback.deploys import builds, preflight

preflight("builds")
builds()
