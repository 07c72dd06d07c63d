"""Selection of the tiles to acquire, from overviews alone.

`overviews.py` cuts overviews into tiles and runs an observer on them, `ranking.py` ranks the tiles,
`selecting.py` cuts the ranking by a budget, and `selections.py` writes and opens the result.
"""
