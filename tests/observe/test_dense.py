"""Between tables of tiles and grids of scenes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveate.observe import dense


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    more=st.lists(st.integers(1, 3), max_size=2), seed=st.integers(0, 99),
)  # fmt: skip
def test_tables_and_grids_are_inverses(shape, more, seed):
    draw = np.random.default_rng(seed)
    kept = draw.random(shape) < 0.7
    place = draw.permutation(np.argwhere(kept))
    values = draw.normal(size=(len(place), *more))
    grids = dense.to_grids(values, place, shape)
    assert grids.shape == (*shape, *more)
    assert grids.dtype == values.dtype
    assert not grids[~kept].any()
    assert np.array_equal(dense.from_grids(grids, place), values)
    assert np.array_equal(dense.valid(place, shape), kept)
    for row, (s, r, c) in zip(values, place, strict=True):
        assert np.array_equal(grids[s, r, c], row)


@given(
    s=st.integers(1, 2), rows=st.integers(1, 4), cols=st.integers(1, 4), side=st.integers(1, 3),
)  # fmt: skip
def test_tokens_of_tiles_make_one_grid(s, rows, cols, side):
    tokens = np.random.default_rng(0).normal(size=(s, rows, cols, side * side, 2))
    wide = dense.to_tokens(tokens, side)
    assert wide.shape == (s, rows * side, cols * side, 2)
    assert np.array_equal(dense.to_tiles(wide, side), tokens)
    for i, j in np.ndindex(rows * side, cols * side):
        token = (i % side) * side + j % side
        assert np.array_equal(wide[:, i, j], tokens[:, i // side, j // side, token])
