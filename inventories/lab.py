"""The embedded lab under its own name: `pyinfra inventories/lab.py deploys/status.py`."""

from lab import inventory as _lab

builders = _lab.builders()
targets = _lab.targets()

# The group that is named like this file: its data wins over that of the groups above, and over group_data/.
lab = (_lab.everybody(), _lab.data())
