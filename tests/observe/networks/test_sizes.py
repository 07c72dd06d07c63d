"""Sizes and forms by name."""

from __future__ import annotations

import pytest

from foveate.errors import ParameterError, UnknownNameError
from foveate.observe.networks.sizes import (
    ARCHITECTURES,
    SIZES,
    Architecture,
    Shape,
    architecture_of,
    shape_of,
)


@pytest.mark.parametrize("size", SIZES)
def test_features_are_never_longer_than_they_are(size):
    assert shape_of(size, 2000, 2000) == SIZES[size]
    short = shape_of(size, 12, 10**6)
    assert (short.lr_dim, short.hr_dim) == (12, SIZES[size].hr_dim)
    assert short.width == SIZES[size].width


def test_the_full_size_has_the_shapes_of_the_paper():
    full = SIZES["full"]
    assert (full.hr_dim, full.hr_side, full.queries, full.depth) == (768, 14, 2, 12)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_forms_by_name(name):
    assert architecture_of(name) == ARCHITECTURES[name]
    assert ARCHITECTURES["kriged"] == Architecture()


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'smal'.*nano, tiny, small, full.*small"):
        shape_of("smal", 8, 8)
    with pytest.raises(UnknownNameError, match=r"'krigged'.*Allowed: kriged, .*kriged"):
        architecture_of("krigged")


def test_what_cannot_be_is_refused():
    with pytest.raises(ParameterError, match="pool = 3 for 14 HR tokens"):
        Shape(8, 8, 2, 14, 3, 24, 2, 6)
    with pytest.raises(ParameterError, match="5 attention heads for a width of 24"):
        Shape(8, 8, 2, 14, 7, 24, 2, 5)
    with pytest.raises(ParameterError, match="kriging without a fill"):
        Architecture(fill=False)
