"""What one run knows, and its beginning and end. Every stage and room may import it; it imports none of them.

`state` and `outcome` are the record (no pyinfra), `context` the run on its hosts, `commands` and `options` the request,
`setup` makes the context, `stage` decorates stages, `journal`, `timing` and `report` record, `finish` ends the run.
A new value: a field of `Run`, or a `Key` for `ctx.once`. A new option: `options`. A new listener: `setup`.
"""
