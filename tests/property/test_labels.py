"""Decoding is the inverse of painting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import DataError
from foveate.labels import IGNORED, Legend, count_classes


def unpack(values):
    return np.stack([values >> 16, (values >> 8) & 255, values & 255]).astype(np.uint8)


@st.composite
def painted(draw, step=1):
    """A legend, class numbers, and the values painted for them."""
    rgb = draw(st.booleans())
    # With a step, channels are multiples of it: colours are far from each other.
    channel = st.integers(0, 255 // step).map(lambda v: v * step)
    colour = st.tuples(channel, channel, channel).map(lambda c: c[0] << 16 | c[1] << 8 | c[2])
    value = colour if rgb else st.integers(0, 60_000)
    values = draw(st.lists(value, min_size=2, max_size=12, unique=True))
    classes = draw(st.integers(1, len(values) - 1))
    owner = [i if i < classes else draw(st.integers(-1, classes - 1)) for i in range(len(values))]
    legend = Legend(
        names=tuple(f"c{i}" for i in range(classes)),
        values=tuple(
            tuple(v for v, o in zip(values, owner, strict=True) if o == i) for i in range(classes)
        ),
        ignored=tuple(v for v, o in zip(values, owner, strict=True) if o == -1),
        rgb=rgb,
        tolerance=step // 3,
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pick = rng.integers(0, len(values), draw(st.tuples(st.integers(1, 9), st.integers(1, 9))))
    raw = np.array(values)[pick]
    return legend, np.array(owner)[pick], unpack(raw) if rgb else raw[None].astype(np.uint16), rng


@given(painted())
def test_decode_inverts_painting(case):
    legend, codes, mask, _ = case
    assert (legend.decode(mask) == codes).all()
    counts = count_classes(legend.decode(mask), len(legend))
    assert counts.tolist() == [(codes == i).sum() for i in range(len(legend))]
    assert counts.sum() == codes.size - (codes == IGNORED).sum()


@given(painted())
def test_a_legend_read_back_from_its_file_decodes_the_same(case):
    legend, codes, mask, _ = case
    assert (Legend.from_dict(legend.to_dict()).decode(mask) == codes).all()


@given(painted(step=50))
def test_noise_within_the_tolerance_changes_nothing(case):
    legend, codes, mask, rng = case
    if not legend.rgb:
        return
    noise = rng.integers(-legend.tolerance, legend.tolerance + 1, mask.shape)
    assert (legend.decode(np.clip(mask + noise, 0, 255).astype(np.uint8)) == codes).all()


@given(painted(), st.integers(0, 0xFFFFFF), st.data())
def test_a_strange_value_is_named_with_its_number_of_pixels(case, value, data):
    legend, _, mask, rng = case
    value = value if legend.rgb else value % 2**16
    known = {v for group in legend.values for v in group} | set(legend.ignored)
    if value in known:
        return
    where = rng.random(mask.shape[1:]) < 0.5
    where.flat[0] = True
    raw = unpack(np.full(1, value))[:, 0] if legend.rgb else np.array([value])
    mask[:, where] = raw[:, None]
    name = f"#{value:06X}" if legend.rgb else str(value)
    message = rf"has {where.sum()} pixels of 1 unknown class value\(s\), most often {name}\."
    with pytest.raises(DataError, match=message):
        Legend(**{**vars_of(legend), "tolerance": 0}).decode(mask)


def vars_of(legend):
    names = ("names", "values", "ignored", "rgb", "colors")
    return {name: getattr(legend, name) for name in names}
