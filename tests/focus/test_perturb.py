"""The perturbation of Eq. 5: size, range, and what it depends on."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.focus.importance import GAIN, SPECKLE, perturb, perturb_window


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_dtype_shape_and_range_stay(dtype):
    if np.issubdtype(dtype, np.integer):
        ends = np.iinfo(dtype)
        values = [ends.min, ends.min + 1, 0, ends.max // 2, ends.max - 1, ends.max]
    else:
        values = [-1e30, -1, 0, 0.5, 1, 1e30]
    image = np.resize(np.array(values, dtype), (4, 9, 11))
    before = image.copy()
    found = perturb_window(image, "window", 0)
    assert found.dtype == dtype
    assert found.shape == image.shape
    assert (image == before).all()
    assert (found[image == 0] == 0).all()
    assert np.isfinite(found).all()
    # Nothing wraps around: signs stay, and large stays large.
    assert (np.sign(found.astype(float)) == np.sign(image.astype(float)))[abs(image) > 9].all()
    large = image > (image.max() // 3 if np.issubdtype(dtype, np.integer) else 0.9)
    assert (found[large] > 0.5 * image[large].astype(float)).all()


def test_gain_by_band_and_speckle_by_pixel():
    image = np.full((6, 200, 200), 1000.0)
    ratio = perturb_window(image, "window", 1) / image
    gain = ratio.mean(axis=(1, 2))
    assert (np.abs(gain - 1) < GAIN + 0.002).all()
    assert gain.std() > 0.01
    speckle = ratio / gain[:, None, None]
    assert speckle.std() == pytest.approx(SPECKLE, rel=0.05)
    # One speckle for all bands: it is of the place.
    np.testing.assert_allclose(speckle[0], speckle[5], atol=1e-3)


def test_name_and_seed_decide_and_nothing_else():
    image = np.full((3, 16, 16), 100, np.uint8)
    one = perturb_window(image, "a", 0)
    perturb_window(image, "b", 0)
    np.random.random(3)  # noqa: NPY002  (the global state must not matter)
    assert (perturb_window(image, "a", 0) == one).all()
    assert (perturb_window(image, "b", 0) != one).any()
    assert (perturb_window(image, "a", 1) != one).any()


def test_a_function_of_the_user_s_own():
    seen = []

    def flip(image, draw):
        seen.append(float(draw.random()))
        return image[:, ::-1]

    image = np.arange(12).reshape(1, 4, 3)
    for _ in range(2):
        assert (perturb_window(image, "a", 5, flip) == image[:, ::-1]).all()
    assert seen[0] == seen[1]


def test_a_constant_generator_is_no_change():
    class Still:
        def standard_normal(self, shape, dtype):
            return np.zeros(shape, dtype)

        def uniform(self, low, high, shape):
            return np.full(shape, (low + high) / 2)

    image = np.arange(48, dtype=np.uint16).reshape(3, 4, 4)
    assert (perturb(image, Still()) == image).all()
