import numpy as np
import pytest

from foveate.stats import entropy


def test_entropy_is_1_for_a_uniform_row_and_0_for_one_class():
    assert entropy([[5, 5, 5], [9, 0, 0]]).tolist() == pytest.approx([1, 0])
    assert entropy([[5, 5, 0, 0]]).tolist() == pytest.approx([0.5])


def test_entropy_in_bits():
    assert entropy([1, 1, 1, 1], base=2) == pytest.approx(2)


def test_entropy_of_nothing_is_nan_and_of_one_class_0():
    assert np.isnan(entropy([0, 0]))
    assert entropy([[3], [0]])[0] == 0
    assert np.isnan(entropy([[3], [0]])[1])


def test_entropy_is_never_minus_zero():
    assert not np.signbit(entropy([[9, 0], [9, 0]])).any()


def test_entropy_knows_shares_as_well_as_counts():
    counts = np.random.default_rng(0).integers(0, 9, (20, 5))
    assert np.allclose(entropy(counts), entropy(counts / counts.sum(axis=1, keepdims=True)))
