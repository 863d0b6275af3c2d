"""For inventories and group data: load the services' YAML files, with errors that pyinfra prints as one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyinfra.api.exceptions import InventoryError

from gofallback.model.base import DataError
from gofallback.model.load import load_services
from gofallback.pyinfra_patches.refusal import refusal


def services(folder: Path | str) -> list[dict[str, Any]]:
    """Plain data of every ``*.yml`` in a folder: one file, one service.

    Raises:
        InventoryError: a file that is no YAML, or two that say the same; one line with file and line.
    """
    try:
        return load_services(Path(folder))
    except DataError as error:
        raise refusal(InventoryError, str(error)) from None
