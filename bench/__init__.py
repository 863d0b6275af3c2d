"""Side-by-side measurements: the product in the lab, against its peers on the same hosts in the same run.

See docs/benchmarks.md for what is measured, how, and the latest figures.
"""
