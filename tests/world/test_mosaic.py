from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.world import MOSAIC_KINDS, stitch

KINDS = list(MOSAIC_KINDS)


def flat(classes, each=3, side=4, bands=2):
    """Patches of one value, 10 x class + patch: a cell of a mosaic tells where it is from."""
    return {
        f"c{k}": [np.full((bands, side, side), 10 * k + i, np.uint8) for i in range(each)]
        for k in range(classes)
    }


def cells(mosaic):
    """The value of each cell, which must be the same in all of its pixels and bands."""
    c, h, w = mosaic.image.shape
    t = mosaic.tile
    blocks = mosaic.image.reshape(c, h // t, t, w // t, t)
    assert (blocks == blocks[:1, :, :1, :, :1]).all()
    return blocks[0, :, 0, :, 0]


sides = st.integers(1, 5).map(lambda k: 2 * k)
sizes = st.fixed_dictionaries({"rows": sides, "cols": sides, "seed": st.integers(0, 2**40)})


@given(sizes, st.sampled_from(KINDS), st.integers(1, 4))
def test_names_and_pixels_agree_and_patches_are_used_in_turn(size, kind, each):
    assume(size["rows"] * size["cols"] > 4)
    mosaic = stitch(flat(6, each), kind, **size, share=0.9)
    value = cells(mosaic)
    assert value.shape == mosaic.names.shape == (size["rows"], size["cols"])
    assert (mosaic.names == np.char.add("c", (value // 10).astype(str))).all()
    for name in np.unique(mosaic.names):
        used = np.bincount(value[mosaic.names == name] % 10, minlength=each)
        assert used.max() - used.min() <= 1


@given(sizes, st.sampled_from(["one", "rare", "rare-mixed"]), st.integers(5, 9))
def test_one_cell_of_the_label_or_nothing_else(size, kind, classes):
    assume(size["rows"] * size["cols"] > 4)
    mosaic = stitch(flat(classes), kind, **size)
    count = Counter(mosaic.names.ravel().tolist())
    own = count.pop(mosaic.label)
    if kind == "one":
        assert own == size["rows"] * size["cols"]
        assert mosaic.planted == ()
        return
    (box,) = mosaic.planted
    assert own == 1
    assert mosaic.names[box.y // 4, box.x // 4] == mosaic.label
    assert box.h == box.w == mosaic.tile == 4
    assert len(count) == (1 if kind == "rare" else 4)
    assert max(count.values()) - min(count.values()) <= 2


def test_clutter_is_single_cells_of_all_other_classes_on_one_background():
    mosaic = stitch(flat(9), "clutter", rows=8, cols=8)
    count = Counter(mosaic.names.ravel().tolist())
    assert count.pop(mosaic.label) == 1
    assert sorted(count.values()) == [2] * 5 + [3] * 2 + [47]
    (box,) = mosaic.planted
    assert mosaic.names[box.y // 4, box.x // 4] == mosaic.label


@given(sizes, st.sampled_from(KINDS), st.floats(0, 1, exclude_max=True))
def test_an_offset_moves_the_cells_and_what_is_planted_is_seen_whole(size, kind, offset):
    assume(size["rows"] * size["cols"] > 4)
    mosaic = stitch(flat(7), kind, **size, share=0.9, offset=offset)
    more = int(mosaic.offset > 0)
    assert mosaic.offset == min(round(offset * 4), 3)
    assert mosaic.image.shape == (2, 4 * size["rows"], 4 * size["cols"])
    assert mosaic.names.shape == (size["rows"] + more, size["cols"] + more)
    # Each pixel shows the class of the cell that it lies in.
    y, x = (np.arange(4 * size[side]) + mosaic.offset for side in ("rows", "cols"))
    names = mosaic.names[np.ix_(y // 4, x // 4)]
    assert (names == np.char.add("c", (mosaic.image[0] // 10).astype(str))).all()
    for box in mosaic.planted:
        assert min(box.y, box.x) >= 0
        seen = names[box.y : box.y + 4, box.x : box.x + 4]
        assert seen.shape == (4, 4)
        assert (seen == mosaic.label).all()
        assert (names == mosaic.label).sum() == 16


@given(sizes, st.booleans(), st.integers(2, 9), st.floats(0.01, 0.99))
def test_the_label_has_its_share_and_no_other_class_as_much(size, blocks, classes, share):
    kind, unit = ("blocks", 4) if blocks else ("majority", 1)
    total = size["rows"] * size["cols"] // unit
    own = round(share * total)
    if own <= -(-(total - own) // (classes - 1)):
        with pytest.raises(ParameterError, match="must have fewer cells"):
            stitch(flat(classes), kind, **size, share=share)
        return
    names = stitch(flat(classes), kind, **size, share=share).names
    count = sorted(Counter(names.ravel().tolist()).values())
    assert count[-1] == own * unit
    assert own * unit not in count[:-1]
    if blocks:
        assert (names == names[::2, ::2].repeat(2, 0).repeat(2, 1)).all()


@given(st.sampled_from(KINDS), st.integers(0, 99), st.integers(0, 99))
def test_a_seed_says_it_all_and_the_order_of_classes_nothing(kind, seed, index):
    patches = flat(6)
    one = stitch(patches, kind, seed=seed, index=index)
    turned = dict(reversed(patches.items()))
    two = stitch(turned, kind, seed=seed, index=index)
    assert (one.image == two.image).all()
    assert (one.names == two.names).all()
    other = stitch(patches, kind, seed=seed, index=index + 1)
    assert (one.image != other.image).any()


def test_the_label_may_be_named():
    for kind in KINDS:
        assert stitch(flat(6), kind, label="c4").label == "c4"
    assert (stitch(flat(6), "one", label="c4").names == "c4").all()


def test_patches_become_squares_of_one_side():
    wide = np.zeros((1, 4, 8), np.uint16)
    wide[:, :, 2:6] = 500  # the middle square
    large = np.full((1, 8, 8), 700, np.uint16)
    large[:, ::2] = 900  # averages to 800
    mosaic = stitch({"a": [wide], "b": [wide], "c": [large]}, "rare", rows=2, cols=2, label="c")
    assert mosaic.tile == 4  # two of three
    assert mosaic.image.dtype == np.uint16
    box = mosaic.planted[0]
    inside = np.zeros((8, 8), bool)
    inside[box.y : box.y + 4, box.x : box.x + 4] = True
    assert (mosaic.image[0][inside] == 800).all()
    assert (mosaic.image[0][~inside] == 500).all()
    assert stitch({"a": [wide]}, "one", rows=1, cols=3, tile=16).image.shape == (1, 16, 48)


@pytest.mark.parametrize(
    ("classes", "kind", "more", "error", "words"),
    [
        (3, "rares", {}, UnknownNameError, "Did you mean 'rare'"),
        (3, "rare", {"label": "c9"}, UnknownNameError, "Classes: c0, c1, c2"),
        (1, "rare", {}, ParameterError, "At least 2"),
        (4, "rare-mixed", {}, ParameterError, "At least 5"),
        (6, "rare-mixed", {"rows": 2, "cols": 2}, ParameterError, "At least 5 cells"),
        (6, "rare", {"rows": 0}, ParameterError, "rows=0"),
        (6, "rare", {"cols": True}, ParameterError, "cols=True"),
        (6, "rare", {"tile": 1.5}, ParameterError, "tile=1.5"),
        (2, "clutter", {}, ParameterError, "At least 3"),
        (6, "rare", {"offset": 1.0}, ParameterError, "0 to below 1"),
        (6, "rare", {"rows": 1, "offset": 0.5}, ParameterError, "at least 2 x 2 cells"),
        (6, "blocks", {"rows": 3}, ParameterError, "Use rows=4, cols=8"),
        (6, "majority", {"share": 1.0}, ParameterError, "above 0 and below 1"),
        (6, "blocks", {"share": float("nan")}, ParameterError, "above 0 and below 1"),
        (6, "majority", {"share": 0.001}, ParameterError, "share=0.001 is 0 of 64"),
        (3, "majority", {"share": 0.25}, ParameterError, "Increase share, or use more classes"),
    ],
)
def test_what_cannot_be_stitched_is_said(classes, kind, more, error, words):
    with pytest.raises(error, match=words):
        stitch(flat(classes), kind, **more)


def test_patches_that_do_not_fit_are_named():
    with pytest.raises(DataError, match="no patches of class 'x'"):
        stitch(flat(2) | {"x": []}, "one")
    with pytest.raises(DataError, match="2 band"):
        stitch({"a": [np.zeros((1, 4, 4))], "b": [np.zeros((2, 4, 4))]}, "rare")
    both = {"a": [np.zeros((1, 4, 4), np.uint8)], "b": [np.zeros((1, 4, 4), np.uint16)]}
    with pytest.raises(DataError, match="uint16"):
        stitch(both, "rare")
    with pytest.raises(DataError, match="shape"):
        stitch({"a": [np.zeros((4, 4))]}, "one")
