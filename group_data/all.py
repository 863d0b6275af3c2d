"""Data of every host: the services, one YAML file each, edited by the product teams."""

from pathlib import Path

from gofallback import inventory as _inventory

services = _inventory.services(Path(__file__).parent / "services")
