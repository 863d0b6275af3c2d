"""The fault matrix: every fault at every moment of a rollout, on lab hosts, and what must hold after each.

`make faults`, or `python -m tests.faults --fault kill --moment gate`. What the rows mean: docs/faults.md.
"""
