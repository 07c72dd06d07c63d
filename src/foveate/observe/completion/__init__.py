"""Completion of scenes from overviews and acquired tiles, and answers from completed scenes.

`match_hr.py` matches files to tiles, `completing.py` predicts the rest; `searching.py`,
`classifying.py` and `zero_shot.py` read completed scenes.
"""
