"""Undeclared frames: which values are fill values, and how they are typed."""

import numpy as np
import pytest

from foveate.raster import ArraySource, find_frame

RNG = np.random.default_rng(0)


def test_a_frame_is_found_at_reduced_size():
    data = RNG.random((1, 1200, 900)).astype(np.float32)
    data[:, :, :450] = np.finfo(np.float32).min
    frame = find_frame(ArraySource(data))
    assert frame is not None
    assert frame.text == "-3.4028234663852886e+38"
    assert abs(frame.share - 0.5) < 0.01


@pytest.mark.parametrize(("dtype", "value"), [("int16", -9999), ("float32", -9999), ("float64", 0)])
def test_whole_values_are_typed_as_integers(dtype, value):
    data = RNG.integers(1, 99, (2, 64, 64)).astype(dtype)
    data[:, :20] = value
    frame = find_frame(ArraySource(data))
    assert frame is not None
    assert frame.text == str(value)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_negative_measurements_are_ground(dtype):
    """A negative value of many pixels is no fill value if others are lower."""
    data = RNG.integers(1, 99, (1, 64, 64)).astype(dtype)
    data[:, :20] = -5
    assert find_frame(ArraySource(data)) is not None
    data[:, -1, -1] = -6
    assert find_frame(ArraySource(data)) is None


def test_both_extremes_of_a_type():
    data = np.full((1, 64, 64), np.finfo(np.float64).min)
    data[:, 32:] = np.finfo(np.float64).max
    frame = find_frame(ArraySource(data))
    assert frame is not None
    assert frame.share == 0.5
