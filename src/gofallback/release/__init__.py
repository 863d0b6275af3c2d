"""A release on a target: its files, what is there now, the difference, and the scripts that change it.

Pure: may import `model`, `lease` and the ground; no pyinfra, no network, no files but templates and programs. Every
script is POSIX sh, built here with all values quoted, run by `operations.target`, and its output is parsed here too.
A file of a release: `render`. A value read from targets: `state_script`, `state` and `state_parser`. A check that makes
a target change: `drift`, shown by `plan`. A flag of the agent: `activation` (older agents do not know it) and agent/.
"""
