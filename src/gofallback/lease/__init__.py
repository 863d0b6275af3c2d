"""Leases on a target: which run may write there, with a fencing number.

`script` is the shell that takes, renews, releases and checks a lease; `holder` parses its output. Pure: imports only
the ground. Every write to a target is wrapped in `script.guard`. Leases in etcd are in `gofallback.etcd`.
"""
