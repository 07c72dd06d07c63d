"""Footprints, thinning, and intersections of polygons with footprints and tiles."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from foveate.errors import ParameterError
from foveate.observe.build.footprints import (
    Layout,
    around,
    labelled,
    layout_of,
    thin,
    tile_shares,
)
from foveate.observe.build.polygons import Polygons

PAPER = Layout(2680.0, "m", (10, 10), 1.0, 10.0)
DEGREES = layout_of("0.024deg", (10, 10), 1.0, 10.0)
_GEOD = Geod(ellps="WGS84")


def _area(shape):
    return abs(_GEOD.geometry_area_perimeter(shape)[0])


def test_default_layout_has_the_image_sizes_of_the_paper():
    assert (PAPER.hr_pixels, PAPER.lr_pixels) == (2680, 268)
    assert (DEGREES.hr_pixels, DEGREES.lr_pixels) == (2670, 267)
    assert layout_of("2680 m", (10, 10), 1, 10) == PAPER


@pytest.mark.parametrize(
    ("footprint", "tiles", "hr", "lr"),
    [("2685", (10, 10), 1, 10), ("2680", (7, 10), 1, 10), ("2680", (10, 10), 10, 10),
     ("far", (2, 2), 1, 10), ("-5", (2, 2), 1, 10), ("3deg", (2, 2), 1, 10)],
)  # fmt: skip
def test_invalid_layouts_raise(footprint, tiles, hr, lr):
    with pytest.raises(ParameterError):
        layout_of(footprint, tiles, hr, lr)


def test_metric_squares_have_equal_areas_and_are_aligned():
    lat = np.array([33.0, 45.0, 60.0, -20.0])
    footprints = around(np.full(4, 12.3), lat, PAPER)
    assert footprints.crs.tolist() == [32633, 32633, 32633, 32733]
    areas = [_area(shape) / 1e6 for shape in footprints.outlines()]
    np.testing.assert_allclose(areas, 2.68**2, rtol=2e-3)  # the scale factor of UTM
    assert (footprints.left % 10 == 0).all()
    assert (footprints.top % 10 == 0).all()
    middle = shapely.centroid(footprints.outlines())
    assert np.abs(shapely.get_y(middle) - lat).max() < 1e-4


def test_areas_of_squares_in_degrees_equal_those_of_the_paper():
    footprints = around(np.full(3, -100.0), np.array([33.0, 45.0, 60.0]), DEGREES)
    areas = [_area(shape) / 1e6 for shape in footprints.outlines()]
    np.testing.assert_allclose(areas, [5.97, 5.05, 3.58], atol=0.01)


def test_anchors_outside_utm_or_at_180_degrees_are_omitted():
    lon, lat = np.array([10.0, 10.0, 179.9999]), np.array([85.0, 50.0, 10.0])
    assert around(lon, lat, PAPER).anchor.tolist() == [1]


def test_geobox_and_tiles_cover_the_footprint_north_up():
    footprints = around(np.array([12.3]), np.array([50.0]), PAPER)
    box = footprints.geobox(0, 268)
    assert (box.affine.a, box.affine.e) == (10, -10)
    tiles = footprints.tile_boxes(0)
    assert len(tiles) == 100
    assert shapely.union_all(tiles).equals(shapely.box(*box.boundingbox.bbox))
    bounds = shapely.bounds(tiles)
    assert bounds[1, 0] == bounds[0, 0] + 268  # the second lies to the east,
    assert bounds[10, 1] == bounds[0, 1] - 268  # the eleventh to the south of the first


locations = st.lists(
    st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)), min_size=1, max_size=40, unique=True
)


@given(locations, st.sampled_from([0.0, 51.0, -70.0]), st.sampled_from([500.0, 2680.0]))
def test_thinning_equals_brute_force(at, south, metres):
    lon, lat = np.array(at).T
    lat = lat + south
    order = np.random.default_rng(0).permutation(lon.size)
    kept = set(thin(lon, lat, order, metres).tolist())

    def near(a, b):
        wide = 111_320 * np.cos(np.radians((lat[a] + lat[b]) / 2))
        return max(abs(lat[a] - lat[b]) * 111_320, abs(lon[a] - lon[b]) * wide) < metres

    taken = []  # by brute force
    for row in order.tolist():
        if not any(near(row, other) for other in taken):
            taken.append(row)
    assert kept == set(taken)
    assert thin(lon, lat, order, 0).size == lon.size


def _polygons(shapes, shows):
    count = len(shapes)
    ids = np.array([f"way/{i}" for i in range(count)])
    return Polygons(ids, np.array(shapes, object), np.array(shows, bool), np.full(count, ""))


def test_shares_of_tiles_and_footprints():
    layout = Layout(64.0, "m", (2, 2), 1.0, 4.0)
    footprints = around(np.array([15.0]), np.array([0.01]), layout)
    west, north = footprints.corners()[0, 0]
    east, south = footprints.corners()[0, 2]
    middle = (west + east) / 2, (south + north) / 2
    upper_left = shapely.box(west, middle[1], middle[0], north)
    half_right = shapely.box((middle[0] + east) / 2, south, east + 0.1, north)
    far = shapely.box(20, 20, 21, 21)
    polygons = _polygons(
        [upper_left, upper_left, half_right, far], [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    )
    shows, covered, (_, near) = labelled(footprints, polygons)
    assert shows.tolist() == [[True, True, False]]
    np.testing.assert_allclose(covered, [0.5], atol=1e-3)
    assert near.tolist() == [0, 1, 2]
    shares = tile_shares(footprints, 0, polygons.shapes[near], polygons.shows[near])
    # Overlapping polygons of a concept count once.
    np.testing.assert_allclose(shares[:, 0], [1, 0, 0, 0], atol=2e-3)
    np.testing.assert_allclose(shares[:, 1], [0, 0.5, 0, 0.5], atol=2e-3)
    assert not shares[:, 2].any()
