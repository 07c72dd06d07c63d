"""Cutting, costs, coordinate lists, storage and previews."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from foveate.errors import DataError
from foveate.pool import Pool, open_pool, read_coordinates
from foveate.pool.pool import row_names
from foveate.pool.preview import display_bands, display_range, jpeg, read_small, to_rgb
from foveate.pool.store import FILES, load_pool, save_pool
from foveate.raster import ArraySource, write_cog


def utm(shape, pixel=10.0):
    return GeoBox(shape, Affine(pixel, 0, 4.6e5, 0, -pixel, 5.2e6), "EPSG:32633")


@pytest.fixture
def folder(tmp_path):
    """Two scenes of 40 x 56 pixels, georeferenced, with masks."""
    for i, name in enumerate(("a", "b")):
        data = np.arange(40 * 56, dtype=np.uint16).reshape(1, 40, 56) + 1 + i
        write_cog(tmp_path / f"images/{name}.tif", data, geobox=utm((40, 56)), nodata=0)
        write_cog(tmp_path / f"masks/{name}.tif", (data[0] % 3).astype(np.uint8))
    return tmp_path


def corners(pool):
    t = pool.tiles
    return sorted(zip(t.y.tolist(), t.x.tolist(), t.h.tolist(), t.w.tolist(), strict=True))


@pytest.mark.parametrize(
    ("edge", "expected"),
    [
        ("drop", [(0, 0, 32, 32)]),
        ("shift", [(0, 0, 32, 32), (0, 24, 32, 32), (8, 0, 32, 32), (8, 24, 32, 32)]),
        ("clip", [(0, 0, 32, 32), (0, 32, 32, 24), (32, 0, 8, 32), (32, 32, 8, 24)]),
        ("pad", [(0, 0, 32, 32), (0, 32, 32, 32), (32, 0, 32, 32), (32, 32, 32, 32)]),
    ],
)
def test_edge_policies(folder, edge, expected):
    pool = open_pool(folder / "images/a.tif", tile=32, edge=edge, min_valid=0)
    assert corners(pool) == expected
    if edge == "pad":
        assert pool.tiles.valid_share.tolist() == [1, 0.75, 0.25, 0.1875]


def test_tiles_that_fit_nowhere(folder):
    with pytest.raises(DataError, match=r"no tile of 64 px fits.*--edge shift"):
        open_pool(folder / "images", tile=64, edge="drop")


def test_a_pool_is_sorted_by_id_and_reads_its_own_pixels(folder):
    pool = open_pool(folder / "images", masks=folder / "masks", tile=20, stride=16)
    assert pool.ids.tolist() == sorted(pool.ids.tolist())
    row = int(np.flatnonzero((pool.tiles.scene == "b") & (pool.tiles.y == 16))[0])
    raster = next(iter(pool.read([row])))
    assert raster.data[0, 0, 0] == 16 * 56 + pool.tiles.x[row] + 2
    codes = next(iter(pool.masks([row])))
    np.testing.assert_array_equal(np.bincount(codes.ravel(), minlength=3), pool.counts[row])


def test_split_cuts_every_scene_exactly(folder):
    pool = open_pool(folder / "images", split=(3, 4))
    assert len(pool) == 24
    assert pool.tiles.pixels.sum() == 2 * 40 * 56


def test_a_tile_of_0_is_the_whole_image(folder):
    whole = open_pool(folder / "images", tile=0)
    assert whole.ids.tolist() == open_pool(folder / "images", split=(1, 1)).ids.tolist()


def test_area_and_bytes_of_a_georeferenced_scene(folder):
    pool = open_pool(folder / "images", tile=20, edge="drop")
    costs = pool.costs()
    np.testing.assert_allclose(costs["area"], 20 * 20 * 10.0**2, rtol=0.01)
    assert costs["bytes"].tolist() == [800] * len(pool)
    assert set(Pool.from_arrays(n=3).costs()) == {"tiles"}


def test_pictures_without_georeference_have_no_area(picture, tmp_path):
    picture("images/a.png")
    assert "area" not in open_pool(tmp_path / "images", tile=8).costs()


# --- coordinate lists ------------------------------------------------------------------------


def test_five_columns_the_first_number_is_the_row(tmp_path):
    (tmp_path / "list.txt").write_text("Nice a 200 0 0.5\n\nNice b 0 1744 1\n")
    found = read_coordinates(tmp_path / "list.txt")
    assert found.tiles.scene.tolist() == ["Nice/a", "Nice/b"]
    assert found.tiles.window(0) == (200, 0, 256, 256)
    assert found.tiles.window(1) == (0, 1744, 256, 256)
    assert found.score.tolist() == [0.5, 1]
    assert found.mask.tolist() == ["a", "b"]


def test_six_columns_name_surface_model_and_mask(tmp_path):
    (tmp_path / "list.txt").write_text("top_1 dsm_1 gt_1 0 200 0.25")
    found = read_coordinates(tmp_path / "list.txt", tile=100)
    assert (found.tiles.scene[0], found.extra[0], found.mask[0]) == ("top_1", "dsm_1", "gt_1")
    assert found.tiles.window(0) == (0, 200, 100, 100)


@pytest.mark.parametrize("line", ["a 0 0 1", "a b c d 0 0 1", "a b -1 0 1", "a b 0 0 nan", "a b"])
def test_a_malformed_line_is_named(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"a b 0 0 1\n{line}\n")
    with pytest.raises(DataError, match="line 2 of"):
        read_coordinates(tmp_path / "list.txt")


@pytest.mark.parametrize("line", ["city a 16 24 1", "a dsm a 16 24 1"])
def test_a_pool_of_listed_patches(folder, line):
    (folder / "list.txt").write_text(line)
    pool = open_pool(folder / "images", tile=20, coordinates=folder / "list.txt")
    assert corners(pool) == [(16, 24, 20, 20)]
    assert pool.tiles.scene.tolist() == ["a"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("city c 0 0 1", "the image 'city/c' of the coordinate list"),
        ("city a 30 0 1", "40 x 56 pixels"),
        ("city a 9 0 1\na 1 a 9 0 .5\ncity a 0 0 1", r"1 patch more than once.*'a/y000009_x000000"),
    ],
)
def test_a_list_for_other_images(folder, line, text):
    (folder / "list.txt").write_text(line)
    with pytest.raises(DataError, match=text):
        open_pool(folder / "images", tile=20, coordinates=folder / "list.txt")


@pytest.fixture
def nested(tmp_path):
    """Scenes "a", "x/a", "y/b" and "z/b" of 20 x 20 pixels."""
    for name in ("a", "x/a", "y/b", "z/b"):
        write_cog(tmp_path / f"images/{name}.tif", np.ones((1, 20, 20), np.uint8))
    return tmp_path


@pytest.mark.parametrize(
    ("lines", "scenes"),
    [
        ("a d m 0 0 1", ["a"]),
        ("a.tif d m 0 0 1", ["a"]),
        ("x a 0 0 1", ["x/a"]),
        ("x a.TIF 0 0 1\na d m 0 0 1\ny b 0 0 1", ["a", "x/a", "y/b"]),
    ],
)
def test_a_list_names_scenes_by_id_first(nested, lines, scenes):
    (nested / "list.txt").write_text(lines)
    pool = open_pool(nested / "images", tile=20, coordinates=nested / "list.txt")
    assert pool.tiles.scene.tolist() == scenes


@pytest.mark.parametrize("line", ["b d m 0 0 1", "b.tif d m 0 0 1", "city b 0 0 1"])
def test_a_name_that_fits_two_scenes_names_both(nested, line):
    (nested / "list.txt").write_text(line)
    with pytest.raises(DataError, match="matches 'y/b' and 'z/b'"):
        open_pool(nested / "images", tile=20, coordinates=nested / "list.txt")


# --- rows and costs --------------------------------------------------------------------------


def test_rows_of_each_scene_in_order(folder):
    pool = open_pool(folder / "images", tile=20)
    mixed = pool.take(np.random.default_rng(0).permutation(len(pool)))
    for scene, rows in mixed.per_scene():
        expected = np.flatnonzero(mixed.tiles.scene == scene.scene_id)
        assert rows.tolist() == expected.tolist()
    assert [s.scene_id for s, _ in pool.take(pool.tiles.scene == "b").per_scene()] == ["b"]
    assert list(Pool.from_arrays(n=2).per_scene()) == []


def test_no_rows_are_an_empty_pool(folder):
    for pool in (open_pool(folder / "images", tile=20), Pool.from_arrays(counts=np.ones((3, 2)))):
        assert len(pool.take([])) == 0
        assert pool.take([-1]).ids[0] == pool.ids[-1]
    pool = open_pool(folder / "images", tile=20)
    assert list(pool.read([])) == []


def test_costs_are_worked_out_once_and_only_when_asked_for(folder, monkeypatch):
    from foveate.budget import Budget
    from foveate.pool import costs as module

    pool = open_pool(folder / "images", tile=20)
    calls = []
    area = module.geodesic_area
    monkeypatch.setattr(module, "geodesic_area", lambda p: (calls.append(len(p)), area(p))[1])
    assert set(pool.costs()) == {"tiles", "pixels", "bytes", "area", "ha"}
    assert Budget.parse("pixels=50%").resolve(pool.costs())["pixels"] > 0
    assert not calls
    assert pool.costs()["area"] is pool.costs()["area"]
    assert sum(calls) == len(pool)
    with pytest.raises(ValueError, match="read-only"):
        pool.costs()["area"][0] = 1
    with pytest.raises(KeyError):
        pool.costs()["money"]
    assert len(pool.take([0]).costs()["area"]) == 1
    assert pickle.loads(pickle.dumps(pool)).costs()["bytes"].tolist() == [800] * len(pool)  # noqa: S301


def test_numbers_as_ids_keep_the_order_of_the_rows():
    assert Pool.from_arrays(n=3).ids.tolist() == ["0000000", "0000001", "0000002"]
    assert Pool.from_arrays(n=0).ids.tolist() == []
    many = row_names(np.array([0, 9_999_999, 10_000_000]), 10_000_001)
    assert many.tolist() == ["00000000", "09999999", "10000000"]


# --- storage -------------------------------------------------------------------------------


def test_a_pool_comes_back_from_its_run(folder, tmp_path):
    options = {"masks": folder / "masks", "tile": 20}
    pool = open_pool(folder / "images", **options)
    save_pool(tmp_path / "run", pool)
    again = load_pool(tmp_path / "run", open_pool(folder / "images", **options, measure=False))
    assert all((tmp_path / "run" / name).exists() for name in FILES)
    assert again.ids.tolist() == pool.ids.tolist()
    assert (again.counts == pool.counts).all()
    assert again.legend == pool.legend
    assert again.excluded == pool.excluded
    assert corners(again) == corners(pool)
    for unit, cost in pool.costs().items():
        np.testing.assert_array_equal(again.costs()[unit], cost)
    a, b = (list(p.read([0, 5])) for p in (pool, again))
    assert all((x.data == y.data).all() for x, y in zip(a, b, strict=True))


def test_the_stored_tiles_are_geoparquet(folder, tmp_path):
    import json

    import pyarrow.parquet as pq
    import shapely

    save_pool(tmp_path / "run", open_pool(folder / "images", tile=20))
    table = pq.read_table(tmp_path / "run/tiles.parquet")
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["primary_column"] == "geometry"
    box = shapely.from_wkb(table["geometry"][0].as_py()).bounds
    assert 14 < box[0] < 15
    assert 46 < box[1] < 47


# --- previews ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "available", "expected"),
    [
        ((), 1, (1,)),
        ((), 2, (1,)),
        ((), 4, (1, 2, 3)),
        ((4, 3, 2, 1), 4, (4, 3, 2)),
        ((2,), 3, (2,)),
    ],
)
def test_bands_to_show(wanted, available, expected):
    assert display_bands(wanted, available) == expected


@pytest.mark.parametrize(("top", "white"), [(255, 255.0), (120, 120.0), (20, 80.0)])
def test_pictures_keep_their_colours_and_dark_ones_are_brightened(top, white):
    data = np.zeros((3, 20, 30), np.uint8)
    data[0], data[1, :10] = top, top // 2
    span = display_range(ArraySource(data), [1, 2, 3])
    assert span.tolist() == [[0.0, white]] * 3
    nothing = ArraySource(data, np.zeros((20, 30), bool))
    assert display_range(nothing, [1]).tolist() == [[0.0, 255.0]]


def test_a_preview_is_small_stretched_and_grey_where_nothing_is():
    data = np.arange(100 * 300, dtype=np.uint16).reshape(1, 100, 300)
    valid = np.ones((100, 300), bool)
    valid[:, :150] = False
    source = ArraySource(data, valid)
    span = display_range(source, [1])
    picture = to_rgb(read_small(source, None, [1], 60), span)
    assert picture.shape == (20, 60, 3)
    assert (picture[:, :28] == 236).all()
    assert picture[0, -10:].max() < picture[-1, -10:].min()
    assert jpeg(picture, 90)[:2] == b"\xff\xd8"
