"""Pairs of an overview and high-resolution tiles: what observers learn from.

`pairs.py` opens them, `preparation.py` makes them from imagery with `simulation.py`, and
`concepts.py` and `labels.py` say what each tile contains.
"""
