"""The hash-chained journal of a run (docs/journal.md): written, read, verified, shown. Pure but for `writer`, `read`.

`events` are the typed events of a run, `chain` is the form of a line, `writer` appends, `read` parses entries, `verify`
names every changed line, `entry_text` is an entry for a person. Imports the ground only. A new event: one class in
`events`, one line in docs/journal.md, and a better text in `entry_text` if its keys need one.
"""
