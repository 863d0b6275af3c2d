"""All of the group data of one run, parsed and checked against itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from gofallback.model.base import DataError, Strict
from gofallback.model.builder import Builder, Toolchain
from gofallback.model.rollout import Rollout
from gofallback.model.service import Service
from gofallback.model.target import Target


class Fleet(Strict):
    """What one host's group data says."""

    environment: str = "default"
    services: dict[str, Service]
    toolchain: Toolchain | None = None
    builder: Builder = Builder()
    target: Target = Target()
    rollout: Rollout = Rollout()


def parse_fleet(data: Mapping[str, Any]) -> Fleet:
    """Parse the keys ``environment services service_overrides toolchain builder target rollout`` of one host's data.

    Raises:
        DataError: one line with key path, value, expectation and remedy.
    """
    raise NotImplementedError(ValidationError, DataError)
