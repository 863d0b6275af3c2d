"""Loads the services' YAML files for inventories and group data; pyinfra prints its errors as one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyinfra.api.exceptions import InventoryError

from gofallback.model.base import DataError
from gofallback.model.load import load_services
from gofallback.pyinfra_patches.refusal import refusal


def services(folder: Path | str) -> list[dict[str, Any]]:
    """Plain data of every YAML file in a folder: one file, one service.

    Raises:
        InventoryError: a file is no YAML, or two have the same service; one line with file and line number.
    """
    try:
        return load_services(Path(folder))
    except DataError as error:
        raise refusal(InventoryError, str(error)) from None
