"""From pixels to the input of a network."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import ParameterError
from foveate.models.preprocess import Preprocess, own_options, read_size

torch = pytest.importorskip("torch")

CPU = torch.device("cpu")
SCALE = ((0.0, 100.0), (50.0, 150.0))


def read(scale=SCALE, **options):
    return Preprocess.read(options, scale, mean=(0.1, 0.2, 0.3), std=(0.5,) * 3, size=(8, 8))


def test_values_are_scaled_then_normalised():
    inputs = Preprocess(SCALE, mean=(0.5, 0.0), std=(0.25, 2.0), size=None)
    batch = np.array([[100, 50], [50, 100]], np.uint16).reshape(1, 2, 1, 2)
    np.testing.assert_allclose(inputs(batch, CPU), [[[[2, 0]], [[0, 0.25]]]], atol=1e-6)


def test_the_given_pixels_stay_as_they_are():
    batch = np.ones((1, 2, 8, 8), np.float32)
    batch.flags.writeable = False
    read()(batch, CPU)
    assert (batch == 1).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float64"])
def test_any_dtype_and_memory_layout_gives_the_same(dtype):
    batch = np.random.default_rng(0).integers(0, 100, (2, 2, 9, 7))
    expected = read()(batch.astype(np.float32), CPU)
    assert torch.equal(read()(np.asfortranarray(batch.astype(dtype)), CPU), expected)


def test_images_are_resampled_whole_and_smoothly():
    ramp = np.tile(np.arange(64.0), (64, 1))[None, None]
    found = Preprocess(((0.0, 1.0),), (0.0,), (1.0,), (8, 8))(ramp, CPU)[0, 0]
    np.testing.assert_allclose(found[:, 1:-1], np.tile(np.arange(11.5, 52, 8), (8, 1)), atol=0.1)
    assert read(size=16).size == (16, 16)
    assert read(size="native").size is None


def test_normalisation_for_other_bands_is_the_mean_over_its_own():
    assert read().mean == pytest.approx((0.2, 0.2))
    assert read(scale=SCALE[:1] * 3).mean == (0.1, 0.2, 0.3)


def test_options_win():
    found = read(mean="0.7,0.8", std=[2, 3])
    assert (found.mean, found.std) == ((0.7, 0.8), (2, 3))
    assert read(mean=0.4).mean == (0.4, 0.4)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"size": 4}, "at least 8"),
        ({"size": 8.5}, "at least 8"),
        ({"mean": [1, 2, 3]}, "3 values for 2 bands"),
        ({"mean": None}, "a number"),
        ({"mean": float("nan")}, "a number"),
        ({"std": -1}, "must be positive"),
        ({"mean": "123.7,116.3"}, "divide by 255"),
        ({"std": 255}, "divide by 255"),
    ],
)
def test_options_that_cannot_be(options, rule):
    with pytest.raises(ParameterError, match=rule):
        read(**options)


def test_raw_means_are_for_raw_values():
    assert read(scale=((0, 1),) * 2, mean="123.7,116.3").mean == (123.7, 116.3)


def test_the_rest_of_the_options_is_the_family_s():
    assert own_options({"size": 8, "precision": "auto", "in_chans": 4}) == {"in_chans": 4}


def test_a_size_is_a_side_or_both():
    assert read_size(64, 16, "net") == (64, 64)
    assert read_size((np.int64(32), 48), 16, "net") == (32, 48)
    assert read_size([32, 48], 16, "net") == (32, 48)
    assert read_size(50, 16, "net", also=[(50, 50)]) == (50, 50)


@pytest.mark.parametrize(
    ("side", "hint"),
    [(0, 16), (-32, 16), (70, 64), ((64, 70), 64), ((16,), 128), (True, 128), ("big", 128),
     (32.0, 128), (None, 128), ((), 128)],
)  # fmt: skip
def test_sizes_that_cannot_be(side, hint):
    with pytest.raises(ParameterError, match=rf"net.*multiples of 16 pixels.*at_size\({hint}\)"):
        read_size(side, 16, "net", also=[(50, 50)])
