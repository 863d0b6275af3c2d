"""Models of the group data: what is built, who builds, where it runs. Parsed at the edge, frozen afterwards."""

from gofallback.model.base import DataError, Strict
from gofallback.model.builder import Builder, Toolchain, ToolchainPin
from gofallback.model.fleet import Fleet, parse_fleet
from gofallback.model.health import CommandCheck, Health, HttpCheck, TcpCheck
from gofallback.model.platform import Platform
from gofallback.model.rollout import Rollout
from gofallback.model.service import Build, Service, Source, Unit
from gofallback.model.target import Target

__all__ = [
    "Build",
    "Builder",
    "CommandCheck",
    "DataError",
    "Fleet",
    "Health",
    "HttpCheck",
    "Platform",
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
