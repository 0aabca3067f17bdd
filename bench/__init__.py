"""What encryption costs: time and bytes per value, as ratios measured in one run.

`python -m bench` compares with a plain field and with the bare cryptography, `python -m
bench.peers` with other packages that encrypt fields. `docs/benchmarks.md` says how to read them.
"""
