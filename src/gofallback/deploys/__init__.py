"""The stages, by the names they have in the picture of the flow; `deploys/*.py` put them in order."""

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
