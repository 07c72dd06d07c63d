"""Benchmarks: what a method is worth on data with an answer, over several seeds, with intervals."""
