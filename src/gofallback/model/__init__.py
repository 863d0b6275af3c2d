"""Models of the group data: services, builders, targets, rules of a rollout. Parsed once per run, frozen afterwards.

The lowest room: imports only ``redact`` and ``errors``, no report and no release. `base` has the strict base class and
shared field types, `fleet` parses a host's data, `error_text` words every mistake, `cross_checks` compares parts. A new
key: a field with a description here, then `make docs`; a new part of a host: a field of `fleet.Fleet`.
"""

from gofallback.model.base import DataError, Strict
from gofallback.model.binaries import Archives, Binary, ReleaseFile
from gofallback.model.build import Build
from gofallback.model.builder import Builder, Toolchain, ToolchainPin
from gofallback.model.fleet import Fleet, FleetParser, parse_fleet
from gofallback.model.health import CommandCheck, Health, HttpCheck, TcpCheck
from gofallback.model.platform import Platform
from gofallback.model.rollout import Rollout
from gofallback.model.service import Service
from gofallback.model.source import Source
from gofallback.model.target import Target
from gofallback.model.unit import Unit

__all__ = [
    "Archives",
    "Binary",
    "Build",
    "Builder",
    "CommandCheck",
    "DataError",
    "Fleet",
    "FleetParser",
    "Health",
    "HttpCheck",
    "Platform",
    "ReleaseFile",
    "Rollout",
    "Service",
    "Source",
    "Strict",
    "Target",
    "TcpCheck",
    "Toolchain",
    "ToolchainPin",
    "Unit",
    "parse_fleet",
]
