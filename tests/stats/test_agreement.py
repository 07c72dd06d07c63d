import numpy as np
import pytest

from foveate.errors import ParameterError
from foveate.stats import kendall_tau, overlap


def test_kendall_tau_of_an_order_with_itself_and_its_reverse():
    assert kendall_tau(range(9), range(9)) == pytest.approx(1)
    assert kendall_tau(range(9), range(9)[::-1]) == pytest.approx(-1)
    assert np.isnan(kendall_tau([1], [1]))


def test_overlap_is_a_share_of_the_smaller_set():
    assert overlap([1, 2, 3, 4], [4, 1]) == 1
    assert overlap([1, 2], [3, 2, 9]) == 0.5
    assert overlap([1], [2]) == 0


def test_overlap_with_nothing_is_an_error():
    with pytest.raises(ParameterError, match="an empty set of rows"):
        overlap([], [1])
