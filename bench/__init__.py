"""Measurements side by side: the product and its peers, on the same lab hosts in the same run.

docs/benchmarks.md has the method and the latest figures. Each part of a run is one module here; `show` writes the
tables. A benchmark is a client of the product: it runs commands, and nothing in `src/` imports it.
"""
