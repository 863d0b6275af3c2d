"""What runs where, since when, healthy or not, and where unit files drifted. Changes nothing.

pyinfra inventories/production.py deploys/status.py
pyinfra --json inventories/production.py deploys/status.py | jq .status
"""

from gofallback.deploys import preflight, status

preflight("status")  # the state of every target that answers
status()  # the table on the screen, and the exit status
