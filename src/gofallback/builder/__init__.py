"""A builder as text: its folders, the command lines for its shell, and the parsers of their output. Pure.

`shell.Shell` is the seam: `cmd` (Windows) and `sh` (Linux) print the same, and the operations know neither. A new
command on builders is a method there, in both shells. `paths.Layout` has the folders, `state` and `state_parser` what
one round trip reads, `wipe` what a wipe removes. Imports: `windows` (quoting), `model` and the ground.
"""
