"""List the detached builds on the builders, running and finished; `--data cancel=` ends them.

pyinfra --limit builders inventories/production.py deploys/builds.py
pyinfra --limit builders inventories/production.py deploys/builds.py --data cancel=all
"""

from gofallback.deploys import builds, preflight

preflight("builds")  # builders that answer
builds()  # the list on the screen; with `cancel`, builds ended
