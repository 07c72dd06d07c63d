"""Training of an observer from pairs, and its evaluation on held-out scenes.

`dataset.py` holds features and labels in memory, `stages.py` trains one network after the other,
`steps.py` does this in a run; `trial.py` and `evaluate.py` compute the results of the report.
"""
