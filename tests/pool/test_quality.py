"""Quality rasters and excluded ground: shares as loops over pixels count them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from foveate.errors import DataError, ParameterError
from foveate.pool import Pool, open_pool
from foveate.pool.exclusion import Exclusion, read_polygons
from foveate.pool.quality import Quality, bad_pixels
from foveate.raster import write_cog

SIDE, TILE = 32, 8
CLOUDY = {"scl": 9, "qa_pixel": 0b1000, "mask": 255}
CLEAR = {"scl": 4, "qa_pixel": 0b1000000, "mask": 0}


def box(side=SIDE, east=0.0):
    step = 320.0 / side
    return GeoBox((side, side), Affine(step, 0, 5e5 + east, 0, -step, 4e6), "EPSG:32633")


def write(path, data, geobox=None, **more):
    write_cog(path, data[None] if data.ndim == 2 else data, geobox=geobox, **more)


def blocks(kind, side=SIDE, dtype=np.uint16):
    """Left half clear; in the right half the upper rows are cloud: by tile a known share."""
    data = np.full((side, side), CLEAR[kind], dtype)
    data[: side * 3 // 8, side // 2 :] = CLOUDY[kind]
    return data


def shares(side=SIDE):
    """Of each tile of `blocks`, by counting."""
    bad = blocks("mask", side) != 0
    step = side // 4
    return bad.reshape(4, step, 4, step).mean(axis=(1, 3))


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for i, name in enumerate(("T1_20240101_TCI_10m", "T1_20240111_TCI_10m")):
        write(tmp_path / f"images/{name}.tif", rng.integers(1, 9, (3, SIDE, SIDE), np.uint8),
              box(east=320 * i))  # fmt: skip
    return tmp_path / "images"


def test_values_are_read_as_their_products_say():
    values = np.arange(13)[None]
    bad, known = bad_pixels(values[:, :12], np.ones((1, 12), bool), "scl")
    assert np.flatnonzero(bad).tolist() == [1, 3, 8, 9, 10, 11]
    assert np.flatnonzero(~known).tolist() == [0]
    # 21824: clear; 22280: high-confidence cloud; 23888: shadow; 54596: cirrus; 30048: snow;
    # 1: fill; 21826: dilated cloud; 21952: water and clear.
    values = np.array([[21824, 22280, 23888, 54596, 30048, 1, 21826, 21952]])
    bad, known = bad_pixels(values, np.ones_like(values, bool), "qa_pixel")
    assert bad[0].tolist() == [False, True, True, True, True, False, True, False]
    assert known[0].tolist() == [True] * 5 + [False, True, True]
    valid = np.array([[True, True, False, False]])  # both 7 and 0 are declared as nodata
    bad, known = bad_pixels(np.array([[0, 1, 7, 0]]), valid, "mask")
    assert bad[0].tolist() == [False, True, False, False]
    assert known[0].tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("kind", "ending", "side"),
    [("scl", "SCL_20m", 16), ("scl", "SCL_10m", 32), ("qa_pixel", "QA_PIXEL", 32),
     ("mask", "clouds", 64), ("scl", "SCL_60m", 8)],
)  # fmt: skip
def test_shares_of_every_kind_and_resolution(images, tmp_path, kind, ending, side):
    for i, day in enumerate(("20240101", "20240111")):
        data = blocks(kind, side) if i else np.full((side, side), CLEAR[kind], np.uint16)
        write(tmp_path / f"quality/T1_{day}_{ending}.tif", data, box(side, 320 * i))
    pool = open_pool(images, tile=TILE)
    quality = Quality([str(tmp_path / "quality")], "mask" if kind == "mask" else "auto", 1.0)
    found = quality(pool)
    expected = np.concatenate([np.zeros(16), shares(side).ravel()])
    assert found.attributes["bad"] == pytest.approx(expected)
    assert not found.excluded
    left = Quality(quality.files, quality.kind, 0.4)(pool)
    assert len(left) == int((expected <= 0.4).sum()) == 28
    assert len(left.excluded) == 4
    assert all("over 40%" in why for why in left.excluded.values())
    assert "4 of 32 tiles have over 40% bad pixels" in str(left.notes[-1])


def test_values_that_scl_does_not_have_are_refused(images, tmp_path):
    flags = np.full((SIDE, SIDE), 21824, np.uint16)  # of QA_PIXEL: clear
    for i in range(2):
        write(tmp_path / f"q/T1_202401{i}1_SCL_10m.tif", flags, box(east=320 * i))
    pool = open_pool(images, tile=TILE)
    with pytest.raises(DataError, match=r"has the value 21824.*from 0 to 11.*--quality-kind"):
        Quality([str(tmp_path / "q")])(pool)


def test_what_is_fill_is_not_counted(images, tmp_path):
    data = np.full((SIDE, SIDE), 21824, np.uint16)
    data[:, :12] = 1
    data[:4, 12:16] = 22280
    for i, day in enumerate(("20240101", "20240111")):
        write(tmp_path / f"q/T1_{day}_QA_PIXEL.TIF", data, box(east=320 * i), nodata=1)
    bad = Quality([str(tmp_path / "q")], most=1)(open_pool(images, tile=TILE)).attributes["bad"]
    assert np.isnan(bad[0])  # nothing is known of it, and it stays
    assert bad[1] == pytest.approx(0.5)
    assert bad[2] == 0


@pytest.mark.parametrize(("nodata", "expected"), [(255, 1.0), (None, 1.0), (0, 0.5)])
def test_shares_of_a_mask_refer_to_pixels_with_data(images, tmp_path, nodata, expected):
    data = np.full((SIDE, SIDE), 0 if nodata == 0 else 255, np.uint8)
    data[:, ::2] = 1
    for i, day in enumerate(("20240101", "20240111")):
        write(tmp_path / f"q/T1_{day}_clouds.tif", data, box(east=320 * i), nodata=nodata)
    pool = Quality([str(tmp_path / "q")], "mask", 1)(open_pool(images, tile=TILE))
    assert pool.attributes["bad"] == pytest.approx(expected)


def test_quality_that_does_not_fit_is_refused(images, tmp_path):
    pool = open_pool(images, tile=TILE)
    write(tmp_path / "a/T1_20240101_SCL.tif", blocks("scl"), box())
    with pytest.raises(DataError, match="1 of 2 images have no quality raster"):
        Quality([str(tmp_path / "a")])(pool)
    write(tmp_path / "a/T1_20240111_SCL.tif", blocks("scl"), box(east=99_320))
    with pytest.raises(DataError, match=r"cover different ground.*gdalwarp.*-r near"):
        Quality([str(tmp_path / "a")])(pool)
    write(tmp_path / "a/T1_20240111_SCL_20m.tif", blocks("scl"), box(east=320))
    with pytest.raises(DataError, match="two quality rasters"):
        Quality([str(tmp_path / "a")])(pool)
    for i, day in enumerate(("20240101", "20240111")):
        write(tmp_path / f"b/T1_{day}_mask.tif", blocks("mask") | 1, box(east=320 * i))
    with pytest.raises(ParameterError, match="--quality-kind scl"):
        Quality([str(tmp_path / "b")])(pool)
    with pytest.raises(DataError, match=r"all 32 tiles have over 20%.*--max-bad"):
        Quality([str(tmp_path / "b")], "mask")(pool)


def geojson(path, *shapes):
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(s)}
                for s in shapes]  # fmt: skip
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return str(path)


def test_tiles_in_polygons_leave(images, tmp_path):
    pool = open_pool(images, tile=TILE)
    shapes = pool.footprints()
    two = [shapes[0], shapely.affinity.translate(shapes[5], 0, 0)]
    inside = Exclusion(geojson(tmp_path / "a.geojson", *two), 0.01)(pool)
    assert set(inside.excluded) == set(pool.ids[[0, 5]])
    assert "100.0% of their area in a.geojson" in next(iter(inside.excluded.values()))
    touched = Exclusion(geojson(tmp_path / "b.geojson", shapes[5].buffer(1e-5)))(pool)
    assert len(touched.excluded) == 9
    with pytest.raises(DataError, match=r"all 32 tiles.*--max-excluded"):
        Exclusion(geojson(tmp_path / "c.geojson", shapely.box(14, 35, 16, 37)))(pool)


@pytest.mark.parametrize(
    "crs",
    [
        {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
        {"type": "EPSG", "properties": {"code": 32633}},
        "EPSG:32633",
    ],
)
def test_polygons_in_the_crs_of_the_member_crs(images, tmp_path, crs):
    pool = open_pool(images, tile=TILE)
    path = tmp_path / "a.geojson"
    geojson(path, shapely.box(5e5 + 1, 4e6 - 79, 5e5 + 79, 4e6 - 1))
    path.write_text(json.dumps({**json.loads(path.read_text()), "crs": crs}))
    assert set(Exclusion(str(path))(pool).excluded) == {pool.ids[0]}


def test_a_crs_of_excluded_areas_that_is_none(images, tmp_path):
    path = tmp_path / "a.geojson"
    geojson(path, shapely.box(0, 0, 1, 1))
    path.write_text(json.dumps({**json.loads(path.read_text()), "crs": "EPSG:0"}))
    with pytest.raises(DataError, match=r"in the CRS .*EPSG:0.*ogr2ogr"):
        read_polygons(path)


def test_polygons_in_metres_across_180_degrees(tmp_path):
    path = tmp_path / "a.geojson"
    geojson(path, shapely.box(1.8e5, 8e6, 2.1e5, 8.01e6))  # about 179.99 to -179.73 degrees
    path.write_text(json.dumps({**json.loads(path.read_text()), "crs": "EPSG:32701"}))
    polygons, _ = read_polygons(path)
    west, _, east, _ = shapely.bounds(shapely.get_parts(polygons)).T
    assert (east - west).max() < 1
    assert {float(west.min()), float(east.max())} == {-180.0, 180.0}


@pytest.mark.parametrize("ending", ["geojson", "parquet"])
def test_features_without_polygons_are_counted_and_the_others_exclude(images, tmp_path, ending):
    import pyarrow as pa

    from foveate.files import write_parquet

    pool = open_pool(images, tile=TILE)
    path, line = tmp_path / f"a.{ending}", shapely.LineString([(0, 0), (1, 1)])
    shapes = [pool.footprints()[0], None, line, shapely.Polygon()]
    if ending == "parquet":
        table = pa.table({"geometry": pa.array(shapely.to_wkb(shapes[:3]), pa.binary())})
        write_parquet(path, table, geo={"geometry": None})
    else:
        features = [
            {"type": "Feature", "geometry": shape and shapely.geometry.mapping(shape)}
            for shape in shapes[:3]
        ]
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    found = Exclusion(str(path), 0.01)(pool)
    assert set(found.excluded) == {pool.ids[0]}
    said = [note.text for note in found.notes]
    assert f"1 of 3 features in a.{ending} has no geometry and excludes nothing" in said
    assert any("1 of 2 shapes" in text and "LineString" in text for text in said)


def test_excluded_areas_beside_the_pool_are_noted(images, tmp_path):
    pool = open_pool(images, tile=TILE)
    swapped = shapely.transform(pool.footprints()[0], lambda xy: xy[:, ::-1])
    found = Exclusion(geojson(tmp_path / "a.geojson", swapped))(pool)
    assert len(found) == 32
    assert "a.geojson cover no tile" in found.notes[-1].text
    assert "longitude, then latitude" in found.notes[-1].hint


def test_polygons_in_collections_are_excluded(images, tmp_path):
    pool = open_pool(images, tile=TILE)
    shapes = pool.footprints()
    several = shapely.GeometryCollection([shapes[5], shapely.Point(0, 0)])
    several = shapely.GeometryCollection([several])
    found = Exclusion(geojson(tmp_path / "a.geojson", shapes[0], several), 0.01)(pool)
    assert set(found.excluded) == set(pool.ids[[0, 5]])


def test_polygons_of_a_geoparquet(images, tmp_path):
    import pyarrow as pa

    from foveate.files import write_parquet

    pool = open_pool(images, tile=TILE)
    table = pa.table({"geometry": pa.array(shapely.to_wkb(pool.footprints()[:3]), pa.binary())})
    write_parquet(tmp_path / "a.parquet", table, geo={"geometry": None})
    assert len(Exclusion(str(tmp_path / "a.parquet"), 0.01)(pool)) == 29


def test_a_raster_of_another_crs_excludes_ground(images, tmp_path):
    pool = open_pool(images, tile=TILE)
    west, south, east, north = shapely.total_bounds(pool.footprints()[:16])
    grid = GeoBox((400, 400), Affine((east - west) / 400, 0, west, 0, (south - north) / 400, north),
                  "EPSG:4326")  # fmt: skip
    data = np.zeros((400, 400), np.uint8)
    data[:, :200] = 3
    write(tmp_path / "bad.tif", data, grid)
    left = Exclusion(str(tmp_path / "bad.tif"), 0.2)(pool)
    columns = {int(name.split("_x")[1][:6]) for name in left.excluded}
    assert columns == {0, 8}
    assert len(left.excluded) == 8
    assert all(name.startswith("T1_20240101") for name in left.excluded)


def test_excluded_ground_that_is_none(images, tmp_path):
    plain = Pool.from_arrays(n=3)
    with pytest.raises(DataError, match="not georeferenced"):
        Exclusion(geojson(tmp_path / "a.geojson", shapely.box(0, 0, 1, 1)))(plain)
    points = Pool.from_arrays(n=2, outlines=[shapely.Point(0.5, 0.5), shapely.Point(3, 3)])
    assert len(Exclusion(str(tmp_path / "a.geojson"))(points)) == 1
    for text in ("{}", "null", "[]"):
        (tmp_path / "b.geojson").write_text(text)
        with pytest.raises(DataError, match="as GeoJSON: it has neither features"):
            read_polygons(tmp_path / "b.geojson")
    for ending in ("gpkg", "shp", "kml"):
        (tmp_path / f"b.{ending}").write_bytes(bytes(100))
        with pytest.raises(DataError, match=rf"b.{ending}'.*ogr2ogr -t_srs EPSG:4326"):
            read_polygons(tmp_path / f"b.{ending}")
    with pytest.raises(DataError, match=r"no polygons.*ogr2ogr"):
        read_polygons(geojson(tmp_path / "c.geojson", shapely.box(5e5, 4e6, 6e5, 5e6)))
    with pytest.raises(DataError, match="no polygons: it contains Point"):
        read_polygons(geojson(tmp_path / "d.geojson", shapely.Point(0, 0)))
    lines = shapely.LineString([(0, 0), (1, 1)])
    with pytest.raises(DataError, match=r"it contains LineString.*Widen lines"):
        read_polygons(geojson(tmp_path / "e.geojson", lines))
    with pytest.raises(DataError, match=r"it contains no shapes.*omit the option"):
        read_polygons(geojson(tmp_path / "f.geojson"))
    (tmp_path / "g.geojson").write_text("")
    with pytest.raises(DataError, match=r"g.geojson' is empty.*omit the option"):
        read_polygons(tmp_path / "g.geojson")
