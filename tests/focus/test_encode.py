"""The eye: what a window costs, what the model is shown, and that nothing is paid twice."""

from __future__ import annotations

import numpy as np
import pytest
from looks import Sized, colour_model, land

from foveate.budget import Ledger
from foveate.errors import BudgetError, MissingCapabilityError
from foveate.focus.encode import STANDARD, CropEncoder
from foveate.focus.feature_cache import FeatureCache
from foveate.grid import Window
from foveate.raster.sources import ArraySource

WINDOWS = [Window(0, 0, 32, 32), Window(32, 0, 32, 48), Window(0, 32, 16, 16)]


def make(image=None, model=None, *, valid=None, passes=None, **given):
    shown = None
    if model is None:
        model, shown = colour_model()
    source = ArraySource(land(64, 96) if image is None else image, valid)
    ledger = Ledger({} if passes is None else {"passes": passes})
    return CropEncoder(source, model, ledger, **given), shown


def test_a_pass_is_an_image_at_the_standard_size():
    encoder, _ = make(model=colour_model(size=(32, 32))[0])
    assert encoder.price(WINDOWS).tolist() == [1, 1, 1]  # all are brought to 32 x 32
    free, _ = make()
    assert (free.price(WINDOWS) * STANDARD**2).tolist() == [1024, 1536, 256]
    assert (free.price(WINDOWS, free.at_size(16)) * STANDARD**2).tolist() == [256, 256, 256]


def test_passes_are_the_pixels_that_the_model_sees():
    for model in (colour_model()[0], colour_model(size=(32, 32))[0]):
        encoder, _ = make(model=model)
        shown = []
        function = encoder.model.function

        def spy(batch, function=function, shown=shown):
            shown.extend(batch)
            return function(batch)

        object.__setattr__(encoder.model, "function", spy)
        encoder.embed(WINDOWS)
        pixels = sum(image[0].size for image in shown)
        assert encoder.work.passes * encoder.standard.shape[0] ** 2 == pytest.approx(pixels)


def test_sizes():
    model = Sized(32)
    encoder, _ = make(model=model)
    half = encoder.at_size(19)
    assert half.shape == (16, 16)  # a multiple of the step, and no more than asked for
    assert half is encoder.at_size(19)
    assert encoder.at_size(33) is encoder.standard
    assert encoder.at_size(1).shape == (4, 4)  # the least that there is
    assert encoder.price(WINDOWS, half).tolist() == [0.25] * 3
    encoder.embed(WINDOWS, half)
    assert {image.shape for image in model.shown.images} == {(3, 16, 16)}
    assert encoder.work.passes == 0.75
    with pytest.raises(MissingCapabilityError, match="sizes"):
        make(model=colour_model(size=(32, 32))[0])[0].at_size(16)


def test_vectors_have_norm_one_and_the_order_of_the_windows():
    encoder, shown = make()
    found = encoder.embed(WINDOWS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    again = encoder.embed(WINDOWS[::-1])
    assert again.tolist() == found[::-1].tolist()
    assert len(shown.images) == 3


def test_no_pass_is_paid_twice():
    encoder, shown = make()
    encoder.embed([WINDOWS[0], WINDOWS[0], WINDOWS[1]])
    assert len(shown.images) == 2
    assert encoder.work.images == 2
    passes = encoder.work.passes
    assert encoder.price(WINDOWS)[:2].tolist() == [0, 0]
    assert encoder.price(WINDOWS, disturbed=True).min() > 0
    assert encoder.price(WINDOWS, encoder.at_size(16)).min() > 0
    encoder.embed(WINDOWS[:2])
    assert encoder.work.passes == passes == encoder.ledger.spent["passes"]


def test_a_disturbed_view_is_another():
    encoder, _ = make()
    moved = encoder.embed(WINDOWS, disturbed=True)
    assert np.linalg.norm(moved - encoder.embed(WINDOWS), axis=1).min() > 1e-3
    assert make()[0].embed(WINDOWS, disturbed=True).tolist() == moved.tolist()
    assert make(seed=1)[0].embed(WINDOWS, disturbed=True).tolist() != moved.tolist()


def test_no_pass_too_many():
    encoder, _ = make(model=colour_model(size=(32, 32))[0], passes=2.0)
    with pytest.raises(BudgetError):
        encoder.embed(WINDOWS)
    assert encoder.work.passes == 0
    encoder.embed(WINDOWS[:2])
    with pytest.raises(BudgetError):
        encoder.embed(WINDOWS)
    with pytest.raises(BudgetError):
        encoder.tokens(WINDOWS[2])
    assert encoder.work.passes == encoder.ledger.spent["passes"] == 2
    assert encoder.embed(WINDOWS[:1]).shape == (1, 3)  # what was seen is still there


@pytest.mark.parametrize("size", [1, 2, 32])
def test_batches(size):
    encoder, shown = make(batch_size=size)
    windows = [Window(y, x, 16, 16) for y in (0, 16, 32) for x in (0, 16)]
    found = encoder.embed(windows)
    assert shown.calls == encoder.work.calls == -(-6 // size)
    assert found.tolist() == make()[0].embed(windows).tolist()


def test_images_of_different_shapes_in_one_batch():
    encoder, shown = make()
    encoder.embed(WINDOWS)
    assert shown.calls == 3
    assert sorted(image.shape for image in shown.images) == [(3, 16, 16), (3, 32, 32), (3, 32, 48)]


def test_no_finer_than_the_model_can_see():
    encoder, _ = make(land(200, 300), colour_model(size=(32, 32))[0])
    assert encoder.read(Window(0, 0, 200, 300)).shape == (3, 64, 64)
    assert encoder.read(Window(0, 0, 40, 300)).shape == (3, 40, 64)
    assert encoder.read(Window(0, 0, 8, 8)).shape == (3, 8, 8)
    free, shown = make(land(300, 520))
    free.embed([Window(0, 0, 300, 520)])
    assert shown.images[0].shape == (3, STANDARD, STANDARD)
    assert free.work.passes == 1


def test_tokens_are_paid():
    model, shown = colour_model(tokens=4)
    encoder, _ = make(model=model, passes=0.25)
    assert encoder.tokens(Window(0, 0, 64, 96)).shape == (4, 4, 3)
    assert encoder.work.passes == 64 * 96 / STANDARD**2
    assert shown.calls == encoder.work.calls == encoder.work.images == 1


def test_valid_shares():
    valid = np.zeros((64, 96), bool)
    valid[:16, :48] = True
    encoder, shown = make(valid=valid)
    windows = [
        Window(0, 0, 64, 96),
        Window(0, 0, 16, 48),
        Window(8, 40, 16, 16),
        Window(60, 0, 2, 3),
    ]
    assert encoder.valid_shares(windows) == pytest.approx([0.125, 1, 0.25, 0])
    assert not shown.calls
    assert make()[0].valid_shares(windows).tolist() == [1] * 4


def test_valid_shares_of_a_large_image():
    valid = np.zeros((2500, 1100), bool)
    valid[:, :550] = True
    encoder, _ = make(np.zeros((3, 2500, 1100), np.uint8), valid=valid)
    windows = [
        Window(0, 0, 2500, 1100), Window(0, 500, 900, 100), Window(2499, 0, 1, 1100),
        Window(2400, 1099, 100, 1), Window(7, 548, 4, 4),
    ]  # fmt: skip
    assert encoder.valid_shares(windows) == pytest.approx([0.5, 0.5, 0.5, 0, 0.5], abs=0.02)


def test_nodata_is_filled():
    image = land(32, 32)
    valid = np.ones((32, 32), bool)
    valid[:, 16:] = False
    image[:, ~valid] = 255
    encoder, _ = make(image, valid=valid)
    shown = encoder.read(Window(0, 0, 32, 32))
    assert shown[:, :, 16:].max() < 200
    assert shown.dtype == np.uint8
    everywhere = make(image, valid=np.zeros((32, 32), bool))[0].read(Window(0, 0, 32, 32))
    assert not everywhere.any()


def test_features_of_earlier_looks(tmp_path):
    cache = FeatureCache.open(tmp_path, "pixels", "model")
    first, _ = make(cache=cache)
    expected = first.embed(WINDOWS), first.embed(WINDOWS, disturbed=True)
    second, later = make(cache=cache)
    assert second.embed(WINDOWS).tolist() == expected[0].tolist()
    assert second.embed(WINDOWS, disturbed=True).tolist() == expected[1].tolist()
    assert not later.calls
    # Remembered or not, passes are booked: the same job gives the same regions.
    assert second.work.passes == second.work.remembered == first.work.passes
    assert first.work.remembered == 0
    assert second.embed(WINDOWS[:1], second.at_size(16)).shape == (1, 3)
    assert later.calls == 1


def test_a_large_image_is_reduced_once_and_its_holes_stay_holes():
    pixels = land(4200, 320).astype(np.float32)
    valid = np.ones((4200, 320), bool)
    valid[1000:1800, :160] = False
    source = ArraySource(pixels, valid)
    encoder = CropEncoder(source, Sized(32), Ledger({}))
    window = Window(900, 0, 1200, 320)
    seen = encoder.read(window)
    expected = source.read(window, out_shape=encoder.standard.read_shape(window))
    near = np.abs(seen - expected.data)[:, expected.valid]
    assert seen.shape == expected.data.shape
    assert np.median(near) < 0.02 * np.ptp(pixels)
    share = encoder.valid_shares([window])[0]
    assert share == pytest.approx(1 - 800 * 160 / (1200 * 320), abs=0.02)


def test_vectors_as_the_model_gives_them():
    raw, _ = make(inputs="raw")
    found = raw.embed(WINDOWS)
    expected = [raw.read(w).astype(np.float64).mean(axis=(1, 2)) / 255 for w in WINDOWS]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(make()[0].embed(WINDOWS), found / lengths, atol=1e-6)


def test_what_is_remembered_serves_either_head(tmp_path):
    first, _ = make(cache=FeatureCache.open(tmp_path, "m"))
    first.embed(WINDOWS)
    first.cache.save()
    again, shown = make(cache=FeatureCache.open(tmp_path, "m"), inputs="raw")
    np.testing.assert_array_equal(again.embed(WINDOWS), make(inputs="raw")[0].embed(WINDOWS))
    assert not shown.calls
