"""Pixels by class and cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from labelled import write_labelled

from foveate.errors import DataError
from foveate.pool import count_cells, open_pool
from foveate.pool.cell_counts import cell_counts


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


def test_the_cells_of_a_pool_sum_up_to_its_counts_in_memory_and_in_a_file(tmp_path):
    write_labelled(tmp_path, n=2, side=40, classes=3, seed=0)
    pool = open_pool(tmp_path / "images", masks=tmp_path / "masks", tile=32)
    found = count_cells(pool, (4, 4))
    assert found.shape == (len(pool), 16, 3)
    np.testing.assert_array_equal(found.sum(axis=1), pool.counts)
    kept = count_cells(pool, (4, 4), tmp_path / "out/cells.npy")
    assert isinstance(kept, np.memmap)
    np.testing.assert_array_equal(kept, found)
    with pytest.raises(DataError, match="no masks"):
        count_cells(open_pool(tmp_path / "images", tile=32), (4, 4))
