"""Shapes are cut at 180 degrees without losing a part, and their middles stay where they are."""

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from foveate.grid import Grid
from foveate.pool.antimeridian import cut, joined, middles
from foveate.pool.footprints import footprints
from foveate.raster.place import place_of

LONGITUDES = st.floats(-540, 540, allow_nan=False)
SIZES = st.floats(0.01, 90)
AT = st.one_of(st.floats(-9, 9), st.sampled_from([0.0, 8.0, -8.0, 1e-7, -1e-5, 1e-3, 0.02]))


@given(LONGITUDES, st.floats(-60, 60), SIZES, st.floats(0.01, 20))
def test_a_cut_keeps_every_part(west, south, width, height):
    shape = shapely.box(west, south, west + width, south + height)
    (found,) = cut(np.array([shape], dtype=object))
    low, bottom, high, top = found.bounds
    assert -180 <= low <= high <= 180
    assert found.is_valid
    assert found.area == pytest.approx(shape.area, rel=1e-6, abs=1e-6)
    assert (bottom, top) == (shape.bounds[1], shape.bounds[3])
    lon, lat = middles(np.array([found], dtype=object))
    off = (lon[0] - (west + width / 2)) / 360
    assert off == pytest.approx(round(off), abs=1e-5)
    assert lat[0] == pytest.approx(south + height / 2, abs=1e-6)


def test_what_lies_inside_stays_the_same_object():
    shapes = np.array([shapely.box(-180, 0, 180, 10), shapely.Point(180, 0)], dtype=object)
    assert all(a is b for a, b in zip(cut(shapes), shapes, strict=True))
    assert cut(np.empty(0, dtype=object)).shape == (0,)
    assert joined(shapes)[0] is shapes[0]  # all around is not across


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (shapely.Point(190, 5), shapely.Point(-170, 5)),
        (shapely.LineString([(179, 0), (181, 2)]), None),
        (shapely.MultiPoint([(179, 0), (181, 2)]), None),
    ],
)
def test_points_and_lines(shape, expected):
    (found,) = cut(np.array([shape], dtype=object))
    assert expected is None or found.equals(expected)
    assert np.abs(shapely.get_coordinates(found)[:, 0]).max() <= 180
    assert found.length == pytest.approx(shape.length)


@given(
    crs=st.sampled_from(["EPSG:3413", "EPSG:3031", "EPSG:32660", "EPSG:3571", "EPSG:3832"]),
    at=st.tuples(AT, AT),
    turn=st.sampled_from([0, 30, 90, 200]),
    flip=st.booleans(),
)
def test_points_of_a_tile_lie_in_its_outline_and_in_no_other(crs, at, turn, flip):
    center = {"EPSG:32660": (820_000, 7e6), "EPSG:3832": (3.3e6, 1e6)}.get(crs, (0, 0))
    step = 1000
    affine = Affine.translation(center[0] + step * at[0], center[1] + step * at[1])
    affine = affine @ Affine.rotation(turn) @ Affine.scale(step, step if flip else -step)
    affine = affine @ Affine.translation(-8, -8)
    box = GeoBox((16, 16), affine, crs)
    assert place_of(box).kind == "earth"
    tiles = Grid(box.shape, 8).tiles()
    outlines = footprints(tiles, box)
    assert shapely.is_valid(outlines).all()
    x, y = (side.ravel() for side in np.mgrid[0.537:16, 0.551:16])
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*(affine @ (x, y)))
    for i, outline in enumerate(outlines):
        inside = (x > tiles.x[i]) & (x < tiles.x[i] + 8) & (y > tiles.y[i]) & (y < tiles.y[i] + 8)
        assert (shapely.contains_xy(outline, lon, lat) == inside).all()
