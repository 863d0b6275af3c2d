"""The git configuration file that gofallback writes on a builder. Pure."""

from __future__ import annotations

import hashlib

#: Line ends: ``core.eol`` counts for files with the attribute ``text``, ``core.autocrlf`` for the others; both must be
#: said, or a checkout on Windows has other bytes. ``safe.directory``: an administrator's files belong to a group.
GIT_CONFIG = """\
[core]
\tautocrlf = false
\teol = lf
\tsafecrlf = false
\tlongpaths = true
\tsymlinks = false
\tabbrev = auto
\tfsmonitor = false
\tquotepath = true
[safe]
\tdirectory = *
[gc]
\tauto = 0
[maintenance]
\tauto = false
[advice]
\tdetachedHead = false
[init]
\tdefaultBranch = main
[protocol "file"]
\tallow = always
"""
GIT_CONFIG_NAME = f"gitconfig-{hashlib.sha256(GIT_CONFIG.encode()).hexdigest()[:8]}"
"""Named after its content, so that a builder with another version's file gets a new one."""
