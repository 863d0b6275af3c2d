"""What each target gets, and whether it may get it.

`desired` and `stored` find the release of each target, `plan` says what changes there, `pull` publishes binaries for
targets that pull. The gates (compatibility, provenance, vulnerability) each have a `refuse_...` for planning and a
reason for the moment of sending. May import building and run.
A new gate: a module here with the same two functions, called by the stages verify and release.
"""
