"""Matching of HR and LR acquisitions to footprints."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
import shapely

from foveate.errors import DataError
from foveate.observe.build.matching import (
    CLOUDY_LR,
    NO_HR,
    NO_LR,
    PART_HR,
    PART_LR,
    Matcher,
    acquisitions,
)
from foveate.pool.stac.items import Item

PLACE = shapely.box(10, 50, 10.04, 50.04)
WHOLE, WEST, EAST = (9, 49, 11, 51), (9, 49, 10.02, 51), (10.02, 49, 11, 51)


def _item(name, when, box, cloud=None):
    properties = {"datetime": f"{when}T10:00:00Z"} if when else {}
    if cloud is not None:
        properties["eo:cloud_cover"] = cloud
    shape = None if box is None else shapely.geometry.mapping(shapely.box(*box))
    return Item({"id": name, "geometry": shape, "properties": properties, "assets": {}}, "")


def _acquired(*items):
    return acquisitions((_item(*fields) for fields in items), "HR", lambda _: "")


def _match(hr, lr, *, span=30, window=183, lr_range=(-math.inf, math.inf), tries=1):
    fine, coarse = _acquired(*hr), _acquired(*lr)
    matcher = Matcher(fine, coarse, span, window, lr_range, 2.0, tries)
    outlines = np.array([PLACE, shapely.box(100, 0, 101, 1)], object)
    match, far = matcher.match(outlines)
    assert far.why == NO_HR
    lr_names = [[coarse.items[i].name for i in choice] for choice in match.lr]
    return [fine.items[i].name for i in match.hr], lr_names, match.why


def _seconds(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


CLEAR = ("lr", "2023-06-10", WHOLE, 1.0)


def test_newest_covering_hr_is_used():
    hr = [("old", "2021-06-01", WHOLE), ("new", "2023-06-01", WHOLE), ("mid", "2022-06-01", WHOLE)]
    assert _match(hr, [CLEAR]) == (["new"], [["lr"]], "")


def test_older_covering_hr_is_preferred_to_newer_partial_hr():
    hr = [("old", "2023-01-01", WHOLE), ("new", "2023-06-01", WEST)]
    assert _match(hr, [CLEAR])[0] == ["old"]
    assert _match(hr[1:], [CLEAR]) == ([], [], PART_HR)


BOTH = ["east", "west"]


@pytest.mark.parametrize(("span", "expected"), [(30, BOTH), (20, BOTH), (19, []), (0, [])])
def test_hr_items_within_the_span_cover_together(span, expected):
    hr = [("west", "2023-06-01", WEST), ("east", "2023-06-21", EAST)]
    names, _, why = _match(hr, [CLEAR], span=span)
    assert names == expected
    assert why == ("" if expected else PART_HR)


def test_redundant_items_are_not_used():
    hr = [("west", "2023-06-01", WEST), ("east", "2023-06-01", EAST), ("again", "2023-06-01", EAST)]
    assert len(_match(hr, [CLEAR])[0]) == 2


def test_closest_clear_lr_is_first_and_others_follow():
    lr = [
        ("far", "2023-03-01", WHOLE, 0.1), ("near", "2023-06-05", WHOLE, 1.9),
        ("cloudy", "2023-06-01", WHOLE, 2.0), ("silent", "2023-06-02", WHOLE),
        ("part", "2023-06-03", WEST, 0.0),
    ]  # fmt: skip
    hr = [("hr", "2023-06-01", WHOLE)]
    assert _match(hr, lr) == (["hr"], [["near"]], "")
    assert _match(hr, lr, tries=3)[1] == [["near"], ["far"]]


def test_lr_items_of_one_day_cover_together():
    lr = [("west", "2023-06-05", WEST, 1.0), ("east", "2023-06-05", EAST, 1.0)]
    assert sorted(_match([("hr", "2023-06-01", WHOLE)], lr)[1][0]) == ["east", "west"]
    other = [lr[0], ("east", "2023-06-06", EAST, 1.0)]
    assert _match([("hr", "2023-06-01", WHOLE)], other)[2] == PART_LR


def test_lr_range_is_the_fallback_of_the_window():
    """Appendix A.2: within 183 days and 2023, else anywhere in 2023."""
    hr, lr = [("hr", "2022-02-01", WHOLE)], [("lr", "2023-07-01", WHOLE, 1.0)]
    assert _match(hr, lr)[2] == NO_LR
    year = (_seconds("2023-01-01"), _seconds("2023-12-31"))
    assert _match(hr, lr, lr_range=year) == (["hr"], [["lr"]], "")
    outside = [("early", "2022-02-02", WHOLE, 0.0)]
    assert _match(hr, outside, lr_range=year)[2] == NO_LR
    near = [("near", "2023-03-01", WHOLE, 1.0), ("late", "2023-11-01", WHOLE, 0.0)]
    assert _match([("hr", "2023-01-01", WHOLE)], near, lr_range=year)[1] == [["near"]]


def test_reason_is_clouds_if_any_lr_has_a_matching_date():
    hr = [("hr", "2023-06-01", WHOLE)]
    assert _match(hr, [("lr", "2023-06-02", WHOLE, 40.0)])[2] == CLOUDY_LR
    assert _match(hr, [("lr", "2023-06-02", WHOLE)])[2] == CLOUDY_LR
    both = [("lr", "2023-06-02", WHOLE, 40.0), ("old", "2020-06-02", WHOLE, 0.0)]
    assert _match(hr, both)[2] == CLOUDY_LR


def test_items_without_date_or_geometry_are_counted():
    acquired = _acquired(("a", "", WHOLE), ("b", "2023-01-01", None), ("c", "2023-01-02", WHOLE))
    assert [item.name for item in acquired.items] == ["c"]
    assert acquired.counts == {"items": 3, "without a date": 1, "without a place": 1}
    with pytest.raises(DataError, match="2 were found, 1 without a date, 1 without a place"):
        _acquired(("a", "", WHOLE), ("b", "2023-01-01", None))


def test_match_is_independent_of_the_catalogue_order():
    hr = [("b", "2023-06-01", WHOLE), ("a", "2023-06-01", WHOLE)]
    assert _match(hr, [CLEAR])[0] == _match(hr[::-1], [CLEAR])[0]
