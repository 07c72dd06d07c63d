"""Pixels by class and cell, and each pixel tested once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from labelled import write_labelled

from foveate.bench.curate.labels import FILES, cell_counts, write_cell_counts
from foveate.pool import open_pool


@given(
    hnp.arrays(np.int16, hnp.array_shapes(min_dims=2, max_dims=2, min_side=4, max_side=20),
               elements=st.integers(-1, 3)),
    st.integers(1, 4), st.integers(1, 4),
)  # fmt: skip
def test_cells_divide_the_pixels_of_a_tile(code, rows, cols):
    found = cell_counts(code, (rows, cols), 4)
    assert found.shape == (rows * cols, 4)
    np.testing.assert_array_equal(found.sum(axis=0), [(code == k).sum() for k in range(4)])


def test_a_cell_holds_its_own_pixels():
    code = np.repeat(np.repeat(np.array([[0, 1], [2, -1]], np.int16), 3, axis=0), 3, axis=1)
    np.testing.assert_array_equal(
        cell_counts(code, (2, 2), 3), [[9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 0, 0]]
    )


def test_overlapping_tiles_test_each_pixel_once(tmp_path):
    write_labelled(tmp_path, n=2, side=40, classes=3, seed=0)
    pool = open_pool(tmp_path / "images", masks=tmp_path / "masks", tile=32)  # shifted: overlaps
    write_cell_counts(pool, (4, 4), tmp_path / "out")
    counts, once = (np.load(tmp_path / "out" / name) for name in FILES)
    np.testing.assert_array_equal(counts.sum(axis=1), pool.counts)
    whole = open_pool(tmp_path / "images", masks=tmp_path / "masks", tile=40)
    np.testing.assert_array_equal(once.sum(axis=(0, 1)), whole.counts.sum(axis=0))
