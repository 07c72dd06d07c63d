import numpy as np
import pytest

from foveate.select.vendi import vendi_score


def brute_force(x):
    """Eq. 3 of Friedman and Dieng on the full kernel."""
    x = x.astype(float)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(x @ x.T / len(x))
    return np.exp(-sum(v * np.log(v) for v in values if v > 1e-15))


@pytest.mark.parametrize("shape", [(1, 5), (7, 3), (5, 5), (4, 40), (60, 8)])
def test_score_equals_the_full_kernel(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    assert vendi_score(x) == pytest.approx(brute_force(x), rel=1e-9)


def test_identical_rows_score_1_and_orthogonal_rows_n():
    assert vendi_score(np.tile([1.0, 2.0, 3.0], (9, 1))) == pytest.approx(1)
    assert vendi_score(np.eye(9)) == pytest.approx(9)
    assert vendi_score(np.repeat(np.eye(3), 4, axis=0)) == pytest.approx(3)


def test_length_and_order_of_the_rows_do_not_matter():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 6))
    y = rng.permutation(x * rng.uniform(0.1, 10, (20, 1)))
    assert vendi_score(y) == pytest.approx(vendi_score(x))


def test_zero_rows_are_dissimilar_to_all():
    assert vendi_score(np.array([[1.0, 0.0], [0.0, 0.0]])) == pytest.approx(2)
    assert vendi_score(np.zeros((4, 2))) == pytest.approx(4)


def test_no_rows_score_0_and_half_precision_is_enough():
    assert vendi_score(np.empty((0, 3))) == 0
    x = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float16)
    assert vendi_score(x) == pytest.approx(brute_force(x))
