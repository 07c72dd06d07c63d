"""Classes of masks without a classes file."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from foveate.errors import DataError
from foveate.labels import Legend
from foveate.pool.infer import MOST_CLASSES, drawn_values, infer_legend, note_missing_labels
from foveate.raster import ArraySource


def source(array):
    return ArraySource(np.asarray(array)[None])


def pasted(error):
    """The classes file that a message holds."""
    return Legend.from_dict(yaml.safe_load(re.search(r"with '(.*?)' and give it", str(error))[1]))


def discs(levels, side=64, times=8):
    """Discs of these levels on nothing, drawn large and shrunk: their edges are smooth."""
    image = Image.new("L", (side * times, side * times))
    for i, level in enumerate(levels):
        at = i * side * times // len(levels)
        box = (at + 8, 40 + 60 * i, at + side * times // len(levels) - 8, 400)
        ImageDraw.Draw(image).ellipse(box, fill=level)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("levels", [(255,), (200,), (120, 240), (80, 160, 240)])
def test_smoothed_masks_come_with_limits_that_can_be_pasted(levels):
    mask = discs(levels)
    with pytest.raises(DataError, match=r"smoothed .*anti-aliased") as caught:
        infer_legend([source(mask)])
    legend = pasted(caught.value)
    assert len(legend) == len(levels) + 1
    drawn = np.array([0, *levels])
    nearest = np.abs(mask.astype(int)[..., None] - drawn).argmin(axis=2)
    middle = np.abs(np.diff(np.sort(np.abs(mask.astype(int)[..., None] - drawn), axis=2))) < 2
    same = legend.decode(mask) == nearest
    assert same[~middle[..., 0]].all()


@pytest.mark.parametrize(
    ("values", "marked"),
    [
        ([0, 1, 255], 255), ([0, 1, 2, 65535], 65535), ([-1, 0, 1], -1), ([1, 2, 255], 255),
        ([0, 255], None), ([0, 1, 2], None), ([0, 128, 255], None), ([10, 1000, 70000], None),
        ([-2, -1, 0, 1], None), ([0, 240, 255], None),
    ],
)  # fmt: skip
def test_a_value_that_may_mark_missing_labels_is_noted(values, marked):
    notes = note_missing_labels(infer_legend([source(np.array(values).reshape(1, -1))]))
    if marked is None:
        assert not notes
    else:
        assert f"the value {marked} of the masks" in notes[0].text
        legend = Legend.from_dict(yaml.safe_load(re.search(r"with '(.*?)' and", notes[0].hint)[1]))
        assert legend.decode(np.array(values).reshape(1, 1, -1)).min() == -1
        assert len(legend) == len(values) - 1


@given(
    st.lists(st.integers(1, 1000), min_size=MOST_CLASSES + 1, max_size=200),
    st.integers(0, 2**32 - 1),
)
def test_many_classes_are_not_taken_for_smoothed_ones_without_reason(shares, seed):
    values = np.random.default_rng(seed).permutation(255)[: len(shares)]
    times = dict(zip(values.tolist(), shares, strict=True))
    found = drawn_values(times)
    total = sum(shares)
    common = [v for v, n in times.items() if n >= 0.01 * total]
    assert all(min(abs(v - d) for d in found) <= 5 for v in common if found)


def test_many_classes_are_listed_by_their_frequency():
    values = np.repeat(np.arange(64), np.arange(64, 0, -1) * 3)
    with pytest.raises(DataError, match=r"64 different values from 0 to 63.*0 \(3.1%\)") as caught:
        infer_legend([source(values[None])])
    assert pasted(caught.value).values[:2] == ((0,), (1,))


def test_values_of_all_masks_together_count():
    halves = [source(np.arange(25)[None]), source(np.arange(25, 50)[None])]
    with pytest.raises(DataError, match="50 different values"):
        infer_legend(halves)
    assert len(infer_legend([source(np.arange(40)[None])] * 2)) == 40


def test_negative_and_large_values_are_counted():
    legend = infer_legend([source(np.array([[-5, 70000, -5]], np.int32))])
    assert legend.names == ("class -5", "class 70000")


def test_jpeg_masks_of_few_values_are_recognised(tmp_path):
    from foveate.raster import FileSource

    mask = np.zeros((64, 64), np.uint8)
    mask[13:50, 13:50] = 250
    Image.fromarray(mask).save(tmp_path / "a.jpg", quality=90)
    found = np.unique(np.asarray(Image.open(tmp_path / "a.jpg")))
    assert 2 < found.size < MOST_CLASSES
    with pytest.raises(DataError, match="saved as JPEG") as caught:
        infer_legend([FileSource(str(tmp_path / "a.jpg"))])
    assert len(pasted(caught.value)) == 2
