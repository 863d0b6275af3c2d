"""The embedded lab under its own name: `pyinfra inventories/lab.py deploys/status.py`."""

from lab import inventory as _lab

builders = _lab.builders()
targets = _lab.targets()

# The group with the name of this file: its data overrides that of the groups above, and group_data/.
lab = (_lab.everybody(), _lab.data())
