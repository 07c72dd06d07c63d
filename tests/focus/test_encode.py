"""The eye: what a window costs, what the model is shown, and that nothing is paid twice."""

from __future__ import annotations

import numpy as np
import pytest
from looks import Sized, colour_model, land

from foveate.budget import Ledger
from foveate.errors import BudgetError, MissingCapabilityError
from foveate.focus.encode import STANDARD, Eye, Memory
from foveate.grid import Window
from foveate.raster.sources import ArraySource

WINDOWS = [Window(0, 0, 32, 32), Window(32, 0, 32, 48), Window(0, 32, 16, 16)]


def make(image=None, model=None, *, valid=None, passes=None, **given):
    shown = None
    if model is None:
        model, shown = colour_model()
    source = ArraySource(land(64, 96) if image is None else image, valid)
    ledger = Ledger({} if passes is None else {"passes": passes})
    return Eye(source, model, ledger, **given), shown


def test_a_pass_is_an_image_at_the_standard_size():
    eye, _ = make(model=colour_model(size=(32, 32))[0])
    assert eye.price(WINDOWS).tolist() == [1, 1, 1]  # all are brought to 32 x 32
    free, _ = make()
    assert (free.price(WINDOWS) * STANDARD**2).tolist() == [1024, 1536, 256]
    assert (free.price(WINDOWS, free.lens(16)) * STANDARD**2).tolist() == [256, 256, 256]


def test_passes_are_the_pixels_that_the_model_sees():
    for model in (colour_model()[0], colour_model(size=(32, 32))[0]):
        eye, _ = make(model=model)
        shown = []
        function = eye.model.function

        def spy(batch, function=function, shown=shown):
            shown.extend(batch)
            return function(batch)

        object.__setattr__(eye.model, "function", spy)
        eye.see(WINDOWS)
        pixels = sum(image[0].size for image in shown)
        assert eye.work.passes * eye.standard.shape[0] ** 2 == pytest.approx(pixels)


def test_sizes():
    model = Sized(32)
    eye, _ = make(model=model)
    half = eye.lens(19)
    assert half.shape == (16, 16)  # a multiple of the step, and no more than asked for
    assert half is eye.lens(19)
    assert eye.lens(33) is eye.standard
    assert eye.lens(1).shape == (4, 4)  # the least that there is
    assert eye.price(WINDOWS, half).tolist() == [0.25] * 3
    eye.see(WINDOWS, half)
    assert {image.shape for image in model.shown.images} == {(3, 16, 16)}
    assert eye.work.passes == 0.75
    with pytest.raises(MissingCapabilityError, match="sizes"):
        make(model=colour_model(size=(32, 32))[0])[0].lens(16)


def test_vectors_have_norm_one_and_the_order_of_the_windows():
    eye, shown = make()
    found = eye.see(WINDOWS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    again = eye.see(WINDOWS[::-1])
    assert again.tolist() == found[::-1].tolist()
    assert len(shown.images) == 3


def test_nothing_is_paid_twice():
    eye, shown = make()
    eye.see([WINDOWS[0], WINDOWS[0], WINDOWS[1]])
    assert len(shown.images) == 2
    assert eye.work.images == 2
    passes = eye.work.passes
    assert eye.price(WINDOWS)[:2].tolist() == [0, 0]
    assert eye.price(WINDOWS, disturbed=True).min() > 0
    assert eye.price(WINDOWS, eye.lens(16)).min() > 0
    eye.see(WINDOWS[:2])
    assert eye.work.passes == passes == eye.ledger.spent["passes"]


def test_a_disturbed_view_is_another():
    eye, _ = make()
    moved = eye.see(WINDOWS, disturbed=True)
    assert np.linalg.norm(moved - eye.see(WINDOWS), axis=1).min() > 1e-3
    assert make()[0].see(WINDOWS, disturbed=True).tolist() == moved.tolist()
    assert make(seed=1)[0].see(WINDOWS, disturbed=True).tolist() != moved.tolist()


def test_no_pass_too_many():
    eye, _ = make(model=colour_model(size=(32, 32))[0], passes=2.0)
    with pytest.raises(BudgetError):
        eye.see(WINDOWS)
    assert eye.work.passes == 0
    eye.see(WINDOWS[:2])
    with pytest.raises(BudgetError):
        eye.see(WINDOWS)
    with pytest.raises(BudgetError):
        eye.tokens(WINDOWS[2])
    assert eye.work.passes == eye.ledger.spent["passes"] == 2
    assert eye.see(WINDOWS[:1]).shape == (1, 3)  # what was seen is still there


@pytest.mark.parametrize("size", [1, 2, 32])
def test_batches(size):
    eye, shown = make(batch_size=size)
    windows = [Window(y, x, 16, 16) for y in (0, 16, 32) for x in (0, 16)]
    found = eye.see(windows)
    assert shown.calls == eye.work.calls == -(-6 // size)
    assert found.tolist() == make()[0].see(windows).tolist()


def test_images_of_different_shapes_in_one_batch():
    eye, shown = make()
    eye.see(WINDOWS)
    assert shown.calls == 3
    assert sorted(image.shape for image in shown.images) == [(3, 16, 16), (3, 32, 32), (3, 32, 48)]


def test_no_finer_than_the_model_can_see():
    eye, _ = make(land(200, 300), colour_model(size=(32, 32))[0])
    assert eye.read(Window(0, 0, 200, 300)).shape == (3, 64, 64)
    assert eye.read(Window(0, 0, 40, 300)).shape == (3, 40, 64)
    assert eye.read(Window(0, 0, 8, 8)).shape == (3, 8, 8)
    free, shown = make(land(300, 520))
    free.see([Window(0, 0, 300, 520)])
    assert shown.images[0].shape == (3, STANDARD, STANDARD)
    assert free.work.passes == 1


def test_tokens_are_paid():
    model, shown = colour_model(tokens=4)
    eye, _ = make(model=model, passes=0.25)
    assert eye.tokens(Window(0, 0, 64, 96)).shape == (4, 4, 3)
    assert eye.work.passes == 64 * 96 / STANDARD**2
    assert shown.calls == eye.work.calls == eye.work.images == 1


def test_valid_shares():
    valid = np.zeros((64, 96), bool)
    valid[:16, :48] = True
    eye, shown = make(valid=valid)
    windows = [
        Window(0, 0, 64, 96),
        Window(0, 0, 16, 48),
        Window(8, 40, 16, 16),
        Window(60, 0, 2, 3),
    ]
    assert eye.valid(windows) == pytest.approx([0.125, 1, 0.25, 0])
    assert not shown.calls
    assert make()[0].valid(windows).tolist() == [1] * 4


def test_valid_shares_of_a_large_image():
    valid = np.zeros((2500, 1100), bool)
    valid[:, :550] = True
    eye, _ = make(np.zeros((3, 2500, 1100), np.uint8), valid=valid)
    windows = [
        Window(0, 0, 2500, 1100), Window(0, 500, 900, 100), Window(2499, 0, 1, 1100),
        Window(2400, 1099, 100, 1), Window(7, 548, 4, 4),
    ]  # fmt: skip
    assert eye.valid(windows) == pytest.approx([0.5, 0.5, 0.5, 0, 0.5], abs=0.02)


def test_nodata_is_filled():
    image = land(32, 32)
    valid = np.ones((32, 32), bool)
    valid[:, 16:] = False
    image[:, ~valid] = 255
    eye, _ = make(image, valid=valid)
    shown = eye.read(Window(0, 0, 32, 32))
    assert shown[:, :, 16:].max() < 200
    assert shown.dtype == np.uint8
    everywhere = make(image, valid=np.zeros((32, 32), bool))[0].read(Window(0, 0, 32, 32))
    assert not everywhere.any()


def test_what_an_earlier_look_has_seen(tmp_path):
    memory = Memory.open(tmp_path, "pixels", "model")
    first, _ = make(memory=memory)
    expected = first.see(WINDOWS), first.see(WINDOWS, disturbed=True)
    second, later = make(memory=memory)
    assert second.see(WINDOWS).tolist() == expected[0].tolist()
    assert second.see(WINDOWS, disturbed=True).tolist() == expected[1].tolist()
    assert not later.calls
    # Remembered or not, passes are booked: the same job gives the same regions.
    assert second.work.passes == second.work.remembered == first.work.passes
    assert first.work.remembered == 0
    assert second.see(WINDOWS[:1], second.lens(16)).shape == (1, 3)
    assert later.calls == 1


def test_a_large_image_is_reduced_once_and_its_holes_stay_holes():
    pixels = land(4200, 320).astype(np.float32)
    valid = np.ones((4200, 320), bool)
    valid[1000:1800, :160] = False
    source = ArraySource(pixels, valid)
    eye = Eye(source, Sized(32), Ledger({}))
    window = Window(900, 0, 1200, 320)
    seen = eye.read(window)
    expected = source.read(window, out_shape=eye.standard.reading(window))
    near = np.abs(seen - expected.data)[:, expected.valid]
    assert seen.shape == expected.data.shape
    assert np.median(near) < 0.02 * np.ptp(pixels)
    share = eye.valid([window])[0]
    assert share == pytest.approx(1 - 800 * 160 / (1200 * 320), abs=0.02)


def test_vectors_as_the_model_gives_them():
    raw, _ = make(inputs="raw")
    found = raw.see(WINDOWS)
    expected = [raw.read(w).astype(np.float64).mean(axis=(1, 2)) / 255 for w in WINDOWS]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(make()[0].see(WINDOWS), found / lengths, atol=1e-6)


def test_what_is_remembered_serves_either_head(tmp_path):
    first, _ = make(memory=Memory.open(tmp_path, "m"))
    first.see(WINDOWS)
    first.memory.save()
    again, shown = make(memory=Memory.open(tmp_path, "m"), inputs="raw")
    np.testing.assert_array_equal(again.see(WINDOWS), make(inputs="raw")[0].see(WINDOWS))
    assert not shown.calls
