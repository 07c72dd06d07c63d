"""Benchmarks: evaluation of methods on labelled data, over several seeds, with intervals."""
