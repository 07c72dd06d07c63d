"""Item filters: dates, boxes and cloud cover."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import ParameterError
from foveate.pool.stac.search import Search, boxes_of, moments, read_interval

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def item(at=None, box=None, geometry=None, **properties):
    return {"properties": {"datetime": at, **properties}, "bbox": box, "geometry": geometry}


def square(west, south, east, north):
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def test_date_includes_its_whole_period():
    for text, start, end in (
        ("2024", (2024, 1, 1), (2025, 1, 1)),
        ("2024-02", (2024, 2, 1), (2024, 3, 1)),
        ("2024-02-29", (2024, 2, 29), (2024, 3, 1)),
        ("2023-12/2024-02", (2023, 12, 1), (2024, 3, 1)),
    ):
        first, last = read_interval(text)
        assert first == datetime(*start, tzinfo=UTC)
        assert last == datetime(*end, tzinfo=UTC) - timedelta(microseconds=1)
    assert read_interval("../2024-01-01")[0] is None
    assert read_interval("2024-01-01/..")[1] is None
    moment = datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert read_interval("2024-05-01T14:00:00+02:00") == (moment, moment)


@pytest.mark.parametrize("text", ["May", "2024-13", "2024-02-30", "../..", "/", "2024-05-01T99"])
def test_malformed_dates_raise(text):
    with pytest.raises(ParameterError, match="A date is 2024"):
        Search(datetime=text)


def test_reversed_interval_raises_with_corrected_option():
    with pytest.raises(ParameterError, match="ends before it begins") as failed:
        Search(datetime="2024-09-01/2024-05-01")
    assert failed.value.hint == "--datetime 2024-05-01/2024-09-01"


@given(MOMENTS, MOMENTS, MOMENTS)
def test_item_matches_iff_its_time_is_in_the_interval(at, first, second):
    start, end = sorted((first, second))
    search = Search(datetime=f"{start.isoformat()}/{end.isoformat()}")
    assert (search.why_not(item(at.isoformat())) == "") == (start <= at <= end)


def test_item_with_a_period_matches_if_the_periods_overlap():
    composite = item(
        None, start_datetime="2024-05-01T00:00:00Z", end_datetime="2024-05-31T00:00:00Z"
    )
    assert moments(composite)[0] == datetime(2024, 5, 1, tzinfo=UTC)
    assert Search(datetime="2024-05-20").why_not(composite) == ""
    assert Search(datetime="2024-06").why_not(composite) == "--datetime"
    assert Search(datetime="2024").why_not(item()) == "--datetime"  # no date


@pytest.mark.parametrize(
    ("bbox", "hint"),
    [
        ((13, 53, 14, 52), "--bbox 13,52,14,53"),
        ((14, 52, 13, 53), "--bbox 13,52,14,53"),
        ((13, 52, 14), "--bbox 13.0,52.3,13.8,52.7"),
        ((52, 13, 53, 140), "--bbox 13.0,52.3,13.8,52.7"),
    ],
)
def test_invalid_boxes_raise_with_corrected_option(bbox, hint):
    with pytest.raises(ParameterError, match="bbox") as failed:
        Search(bbox=bbox)
    assert failed.value.hint == hint


def test_box_across_the_antimeridian():
    search = Search(bbox=(179, -20, -179, -10))
    assert search.why_not(item(box=[179.5, -15, 179.9, -14])) == ""
    assert search.why_not(item(box=[-179.9, -15, -179.5, -14])) == ""
    assert search.why_not(item(box=[178, -15, -178, -14])) == ""  # the item crosses it, too
    assert search.why_not(item(box=[0, -15, 1, -14])) == "--bbox"
    assert list(boxes_of([170, -5, 0, -170, 5, 9])) == [(170, -5, 180, 5), (-180, -5, -170, 5)]


def test_geometry_takes_precedence_over_the_bounding_box():
    corner = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 1], [0, 0]]]}
    search = Search(bbox=(0.8, 0.8, 1, 1))
    assert search.why_not(item(box=[0, 0, 1, 1])) == ""
    assert search.why_not(item(box=[0, 0, 1, 1], geometry=corner)) == "--bbox"
    assert search.why_not(item(geometry=square(0.9, 0.9, 2, 2))) == ""
    assert search.why_not(item()) == "--bbox"  # no location


def test_cloud_cover_limit_is_inclusive():
    search = Search(max_cloud=20)
    assert search.why_not(item(**{"eo:cloud_cover": 20})) == ""
    assert search.why_not(item(**{"eo:cloud_cover": 20.1})) == "--max-cloud"
    assert search.why_not(item()) == "--max-cloud"
