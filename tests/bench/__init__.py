"""Benchmarks: ratios between candidates in one run on one machine. `make bench`."""
