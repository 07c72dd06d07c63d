"""Shared ground of tiles against pixels that are counted and outlines that are intersected."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from foveate.errors import ParameterError
from foveate.grid import Grid, Tiles
from foveate.pool import Pool
from foveate.pool.overlap import overlaps
from foveate.pool.pool import Scene
from foveate.raster import ArraySource

UTM = (10.0, 0.0, 5e5, 0.0, -10.0, 5e6)
ENGINEERING = 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'


def pool_of(*scenes):
    """A pool of ``(shape, affine or None, crs, windows or side)``."""
    made, tables = [], []
    for i, (shape, affine, crs, cut) in enumerate(scenes):
        box = None if affine is None else GeoBox(shape, Affine(*affine), crs)
        source = ArraySource(np.zeros((1, *shape), np.uint8), geobox=box)
        made.append(Scene(f"s{i}", source))
        grid = Grid(shape, cut, edge="drop") if isinstance(cut, int) else None
        tables.append(grid.tiles(f"s{i}") if grid else Tiles.of(f"s{i}", cut))
    tiles = Tiles.concat(tables)
    return Pool(ids=tiles.tile_id, scenes=tuple(made), tiles=tiles)


def pairs(pool, max_overlap=0.5):
    found = overlaps(pool, max_overlap)
    return {
        (row, int(other))
        for row in range(len(pool))
        for other in found.forbidden_by(row)
        if row != other
    }


WINDOWS = st.lists(
    st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 12)] * 2), min_size=1, max_size=12,
    unique=True,
)  # fmt: skip
SHARES = st.sampled_from([0.0, 0.1, 0.25, 0.49, 0.5, 0.75, 0.99, 1.0])


@given(WINDOWS, WINDOWS, SHARES)
def test_windows_of_a_scene_are_compared_pixel_by_pixel(one, two, share):
    shape = (24, 24)  # some windows reach beyond it
    pool = pool_of((shape, None, None, one), (shape, None, None, two))
    masks = np.zeros((len(pool), 2, *shape), bool)
    for i, (scene, y, x, h, w) in enumerate(
        [(0, *w) for w in one] + [(1, *w) for w in two]
    ):  # fmt: skip
        masks[i, scene, y : y + h, x : x + w] = True
    common = np.einsum("apqr,bpqr->ab", masks.astype(int), masks.astype(int))
    expected = {
        (a, b)
        for a in range(len(pool))
        for b in range(len(pool))
        if a != b and common[a, b] > share * common[b, b]
    }
    assert pairs(pool, share) == expected


def outline(pool, row, crs):
    tiles = pool.tiles
    scene = pool.scenes[tiles.scene_code[row]]
    box = scene.source.info.geobox
    y, x, h, w = tiles.window(row)
    a = box.affine
    go = Transformer.from_crs(str(box.crs), crs, always_xy=True)
    corners = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
    ground = [(a.a * i + a.b * j + a.c, a.d * i + a.e * j + a.f) for i, j in corners]
    return shapely.Polygon([go.transform(*point) for point in ground])


@pytest.mark.parametrize(
    ("affine", "crs"),
    [
        ((10.0, 0.0, 5e5 + 437, 0.0, -10.0, 5e6 - 211), "EPSG:32633"),
        ((8.0, 3.0, 5e5 + 300, 3.0, -8.0, 5e6 - 100), "EPSG:32633"),  # rotated
        ((10.0, 0.0, 5e5 + 100, 0.0, 10.0, 5e6 - 4100), "EPSG:32633"),  # south up
        ((8.0, 0.0, None, 0.0, -8.0, None), "EPSG:32634"),
        ((1e-4, 0.0, None, 0.0, -7e-5, None), "EPSG:4326"),
        ((11.0, 0.0, None, 0.0, -11.0, None), "EPSG:3857"),
    ],
)
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_tiles_of_other_grids_are_compared_on_the_ground(affine, crs, share):
    if affine[2] is None:  # the corner of the first scene
        x, y = Transformer.from_crs("EPSG:32633", crs, always_xy=True).transform(UTM[2], UTM[5])
        affine = (*affine[:2], x, *affine[3:5], y)
    pool = pool_of(((400, 400), UTM, "EPSG:32633", 64), ((400, 400), affine, crs, 48))
    plane = "+proj=laea +lat_0=45 +lon_0=15"  # equal areas
    shapes = [outline(pool, row, plane) for row in range(len(pool))]
    expected, close = set(), set()
    for a, one in enumerate(shapes):
        for b, two in enumerate(shapes):
            part = one.intersection(two).area / two.area
            if a != b and part > share:
                expected.add((a, b))
            if abs(part - share) < 2e-3:
                close.add((a, b))
    assert expected
    assert pairs(pool, share) ^ expected <= close


def test_dates_of_one_place_are_one_group():
    scene = ((96, 96), UTM, "EPSG:32633", 32)
    found = overlaps(pool_of(*[scene] * 5), 0.5)
    (pairs_,) = found.rules
    assert pairs_.start.size - 1 == 9
    assert not pairs_.forbidden.size
    assert len(pairs(pool_of(*[scene] * 5))) == 9 * 5 * 4


@pytest.mark.parametrize(
    ("west", "east", "crs", "shape"),
    [
        ((1e-3, 0, -170.0, 0, -1e-3, 10.0), (1e-3, 0, 190.0, 0, -1e-3, 10.0), "EPSG:4326", 400),
        ((1e-3, 0, 179.9, 0, -1e-3, 10.0), (1e-3, 0, -180.1, 0, -1e-3, 10.0), "EPSG:4326", 400),
    ],
)
def test_longitudes_a_turn_apart_are_one_place(west, east, crs, shape):
    one = ((shape, shape), west, crs, 100)
    pool = pool_of(one, ((shape, shape), east, crs, 100))
    assert pairs(pool) == {(a, (a + 16) % 32) for a in range(32)}


def test_two_projections_meet_at_180_degrees():
    go = Transformer.from_crs("EPSG:32660", "EPSG:32601", always_xy=True)
    east, north = go.transform(833_978.0, 0.0)  # at 180 degrees, on the equator
    one = ((100, 100), (100.0, 0, 828_978.0, 0, -100.0, 5000.0), "EPSG:32660", 50)
    two = ((100, 100), (100.0, 0, east - 5000, 0, -100.0, north + 5000), "EPSG:32601", 50)
    assert pairs(pool_of(one, two)) == {(a, (a + 4) % 8) for a in range(8)}
    degrees = ((100, 100), (9e-4, 0, 179.955, 0, -9.04e-4, 0.0452), "EPSG:4326", 50)
    assert pairs(pool_of(one, degrees)) == {(a, (a + 4) % 8) for a in range(8)}


@pytest.mark.parametrize("crs", [None, ENGINEERING])
def test_without_longitudes_only_one_frame_is_compared(crs):
    scene = ((64, 64), UTM, crs, 32)
    earth = ((64, 64), UTM, "EPSG:32633", 32), ((64, 64), UTM, "EPSG:32634", 32)
    found = pairs(pool_of(scene, scene, *earth))
    assert found == (set() if crs is None else {(a, (a + 4) % 8) for a in range(8)})


def test_files_without_a_georeference_share_nothing():
    assert pairs(pool_of(*[((64, 64), None, None, 32)] * 3)) == set()


def test_a_georeference_without_extent_is_none():
    flat = ((64, 64), (0.0, 0.0, 5e5, 0.0, 0.0, 5e6), "EPSG:32633", 32)
    assert pairs(pool_of(flat, flat)) == set()


def test_what_lies_beyond_the_edge_is_no_ground():
    # Of the second window 56 of its 100 columns inside the raster are in the first.
    pool = pool_of(((256, 300), None, None, [[0, 0, 256, 256], [0, 200, 256, 256]]))
    assert pairs(pool) == {(0, 1)}


def test_a_small_tile_does_not_forbid_a_large_one_around_it():
    pool = pool_of(((64, 64), None, None, [[0, 0, 64, 64], [8, 8, 16, 16]]))
    assert pairs(pool) == {(0, 1)}


def test_half_is_not_over_half():
    grid = Grid((64, 96), 32, 16)
    pool = pool_of(((64, 96), None, None, [list(grid.tiles().window(i)) for i in range(15)]))
    assert pairs(pool, 0.5) == set()
    assert pairs(pool, 0.49)


@given(st.integers(0, 10_000))
@settings(max_examples=15)
def test_shifted_dates_are_found_whatever_the_order_of_the_pool(seed):
    rng = np.random.default_rng(seed)
    scenes = [
        ((60, 60), (10.0, 0, 5e5 + 10 * dx, 0, -10.0, 5e6 + 10 * dy), "EPSG:32633", 20)
        for dx, dy in rng.integers(-30, 30, (4, 2)).tolist()
    ]
    pool = pool_of(*scenes)
    a = np.array([scenes[c][1] for c in pool.tiles.scene_code])
    left, top = a[:, 2] + 10 * pool.tiles.x, a[:, 5] - 10 * pool.tiles.y
    wide = np.maximum(0, 200 - np.abs(left[:, None] - left))
    high = np.maximum(0, 200 - np.abs(top[:, None] - top))
    over = (wide * high > 0.5 * 200 * 200) & ~np.eye(len(pool), dtype=bool)
    assert pairs(pool) == set(zip(*map(np.ndarray.tolist, np.nonzero(over)), strict=True))
    order = rng.permutation(len(pool))
    moved = pairs(pool.take(order))
    assert {(int(order[i]), int(order[j])) for i, j in moved} == pairs(pool)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_from_0_to_1(share):
    with pytest.raises(ParameterError, match="max_overlap"):
        overlaps(pool_of(((64, 64), None, None, 32)), share)


def test_a_pool_of_arrays_shares_nothing():
    assert overlaps(Pool.from_arrays(n=4), 0.5).empty
