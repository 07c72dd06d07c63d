"""Totals of a concept over all tiles, estimated from a sample; statistics of pairs.

`estimation.py` draws tiles with known probabilities and estimates totals, `amounts.py` reads the
amount in a tile, and `covariates.py` the mean of a raster over it.
"""
