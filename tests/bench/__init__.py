"""Benchmarks: how the service does beside others that do the same, in one run on one machine. `make bench`."""
