"""The default inventory: the embedded lab, so the main command runs on a fresh machine.

Raise it with `make lab-up`. Put your own hosts into inventories/ (start from inventories/production.py).
"""

from lab import inventory as _lab

builders = _lab.builders()
targets = _lab.targets()

# The group with the name of this file: its data overrides that of the groups above, and group_data/.
inventory = (_lab.everybody(), _lab.data())
