"""The emergency: build on the standby builder, verify, and bring the build to every target, or take all back.

pyinfra inventory.py deploys/fallback.py
pyinfra --dry --diff inventories/production.py deploys/fallback.py      # what would change, host by host
pyinfra inventories/production.py deploys/fallback.py --data ref=v1.2.3 --data reason="build farm down"
"""

from gofallback.deploys import activate, build, confirm, preflight, provision, release, report, source, verify

preflight("fallback")  # checked hosts, the plan of the run, a lease on every target
provision()  # the pinned toolchains on the builder
source()  # the exact commit on the builder, as a clean work tree
build()  # one binary for each platform, still on the builder
verify()  # the artifacts on the controller: checked, signed, stored
release()  # the release in its own folder on every target; what runs there is untouched
activate()  # the release live and provisional, wave after wave
confirm()  # one verdict for the fleet: every target confirmed, or back
report()  # journal, report and exit status, however the run ends
