"""A drill: everything up to the verified artifact. No target is touched.

pyinfra inventories/production.py deploys/drill.py
"""

from gofallback.deploys import build, preflight, provision, report, source, verify

preflight("drill")  # checked hosts and the plan of the builds
provision()  # the pinned toolchains on the builder
source()  # the exact commit on the builder, as a clean work tree
build()  # one binary for each platform, still on the builder
verify()  # the artifacts on the controller: checked, signed, stored
report()  # journal, report and exit status, however the run ends
