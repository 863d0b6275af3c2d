"""The default inventory: the embedded lab, so that the main command runs on a fresh machine.

Raise it with `make lab-up`. Your own hosts go into inventories/ (start from inventories/production.py).
"""

from lab import inventory as _lab

builders = _lab.builders()
targets = _lab.targets()

# The group that is named like this file: its data wins over that of the groups above, and over group_data/.
inventory = (_lab.everybody(), _lab.data())
