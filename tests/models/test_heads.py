"""What all heads share."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import DataError
from foveate.models.heads import check_dim, confusion, numbers_of, same_name, unit


def test_case_spaces_and_underscores_make_no_difference():
    assert same_name("Sea_Lake") == same_name(" sea  lake ")
    found = numbers_of(["SEA LAKE", "forest", "road"], ["forest", "sea_lake"])
    np.testing.assert_array_equal(found, [1, 0, -1])


def test_unit_vectors_have_norm_one_and_zero_stays_zero():
    found = unit(np.array([[3, 4], [0, 0]], np.float16))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0]], rtol=1e-6)
    assert found.dtype == np.float32


def test_the_confusion_counts_pairs_and_leaves_out_the_unknown():
    table = confusion(np.array([0, 0, 1, -1]), np.array([0, 1, 1, 1]), 3)
    np.testing.assert_array_equal(table, [[1, 1, 0], [0, 1, 0], [0, 0, 0]])


def test_another_length_is_refused():
    check_dim(np.zeros((4, 2)), 2, "a probe")
    with pytest.raises(DataError, match="a probe of 2 dimensions"):
        check_dim(np.zeros((4, 3)), 2, "a probe")
