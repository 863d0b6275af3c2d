"""The embedded lab under its own name: `pyinfra inventories/lab.py deploys/status.py`."""

from lab import inventory as _lab

builders = (_lab.builders(), _lab.data())
targets = (_lab.targets(), _lab.data())
