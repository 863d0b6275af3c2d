"""The hash-chained journal of a run (docs/journal.md): written, read, verified, shown. Pure but for `writer`.

`chain` is the form of a line, `writer` appends, `read` parses entries, `verify` names every changed line, `entry_text`
is an entry for a person. Imports the ground only. A new event needs nothing here: ``Journal.write`` takes any name and
keys but `chain.RESERVED`; docs/journal.md lists it, and `entry_text` may give it a better line.
"""
