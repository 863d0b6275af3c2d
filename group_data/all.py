"""Data of every host: the services, one YAML file each, where the product teams edit them."""

from pathlib import Path

from gofallback.model.load import load_services

services = load_services(Path(__file__).parent / "services")
