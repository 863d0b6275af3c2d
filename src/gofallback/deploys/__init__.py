"""The stages, in the order of the flow: preflight provision source build verify release activate confirm report; and
status, builds, wipe and faithful, which stand alone.

A stage is a file here with one `@stage` function, and a line in the project's `deploys/*.py`, which put the stages in
order. A stage imports the rooms below it (checks, rollout, releasing, building, run) and never another stage. Code that
two stages need, or that is long, goes into the room whose question it answers: see each room's docstring.
"""

from gofallback.deploys.activate import activate
from gofallback.deploys.build import build
from gofallback.deploys.builds import builds
from gofallback.deploys.confirm import confirm
from gofallback.deploys.faithful import faithful
from gofallback.deploys.preflight import preflight
from gofallback.deploys.provision import provision
from gofallback.deploys.release import release
from gofallback.deploys.report import report
from gofallback.deploys.source import source
from gofallback.deploys.status import status
from gofallback.deploys.verify import verify
from gofallback.deploys.wipe import wipe
from gofallback.pyinfra_patches.speed import quicken

quicken()

__all__ = [
    "activate",
    "build",
    "builds",
    "confirm",
    "faithful",
    "preflight",
    "provision",
    "release",
    "report",
    "source",
    "status",
    "verify",
    "wipe",
]
