"""The default inventory: the embedded lab, so that the main command runs on a fresh machine.

Raise it with `make lab-up`. Your own hosts go into inventories/ (start from inventories/production.py).
"""

from lab import inventory as _lab

builders = (_lab.builders(), _lab.data())
targets = (_lab.targets(), _lab.data())
