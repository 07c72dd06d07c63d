"""Properties of `builtin` that hold for any tile."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveate.models.families.builtin import Builtin

MODELS = {c: Builtin(range(1, c + 1), [(0, 255)] * c) for c in (1, 2, 3, 5)}


@st.composite
def images(draw):
    """Blocky, noisy, flat and saturated tiles."""
    c = draw(st.sampled_from(sorted(MODELS)))
    h, w = draw(st.integers(8, 40)), draw(st.integers(8, 40))
    stream = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    block = draw(st.sampled_from([1, 2, 5, 16]))
    levels = draw(st.sampled_from([2, 5, 256]))
    small = stream.integers(0, levels, (c, -(-h // block), -(-w // block)))
    large = small.repeat(block, axis=1).repeat(block, axis=2)[:, :h, :w]
    return (large * 255 // (levels - 1)).astype(np.uint8)


@given(images())
def test_finite_and_within_the_unit_interval(image):
    x = MODELS[image.shape[0]].embed(image[None])
    assert np.isfinite(x).all()
    assert (x >= 0).all()
    assert (x <= 1).all()


@given(images(), st.integers(1, 7))
def test_turning_by_quarters_and_mirroring_change_rounding_only(image, turn):
    other = np.rot90(image, turn % 4, axes=(1, 2))
    if turn >= 4:
        other = other[:, :, ::-1]
    model = MODELS[image.shape[0]]
    a, b = model.embed(image[None])[0], model.embed(other[None])[0]
    # Squares are the statistics themselves; the root would magnify rounding near zero.
    assert np.abs(a**2 - b**2).max() < 1e-4


@given(images())
def test_wider_scale_and_floats_give_the_same(image):
    c = image.shape[0]
    x = MODELS[c].embed(image[None])
    wide = Builtin(range(1, c + 1), [(0, 65535)] * c)
    assert np.abs(wide.embed(image[None].astype(np.uint16) * np.uint16(257)) - x).max() < 1e-4
    assert MODELS[c].embed(image[None].astype(np.float32)).tobytes() == x.tobytes()


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5), st.data())
def test_a_row_depends_on_its_tile_only(seeds, data):
    batch = np.stack(
        [np.random.default_rng(s).integers(0, 256, (3, 21, 16), dtype=np.uint8) for s in seeds]
    )
    i = data.draw(st.integers(0, len(seeds) - 1))
    alone = MODELS[3].embed(batch[i : i + 1])
    assert MODELS[3].embed(batch)[i].tobytes() == alone[0].tobytes()
