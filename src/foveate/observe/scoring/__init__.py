"""Scores of tiles: how much each is worth in high resolution.

`targets.py` computes the value that a sampler learns, `policies.py` and `baselines.py` rank tiles
by a score, and `calibration.py` converts scores to probabilities and to the threshold of a budget.
"""
