"""Every row of the table of places: files are made, read, and compared with pyproj and shapely."""

import json
import math
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from affine import Affine
from command import here
from pyproj import CRS, Geod, Transformer
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from table_rows import Rows

import foveate as fv
from foveate.errors import BudgetError, DataError
from foveate.export import export_run
from foveate.observe.data.concepts import Concept
from foveate.observe.data.labels import concept_shares, read_objects
from foveate.observe.selection.overviews import overview_tiles
from foveate.observe.selection.ranking import TileScores
from foveate.observe.selection.selections import save_selected
from foveate.observe.totals.covariates import tile_means
from foveate.pool.antimeridian import middles
from foveate.pool.exclusion import Exclusion
from foveate.raster import FileSource, metres_per_pixel
from foveate.selection import Ranking
from foveate.world import join, write_image

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
WGS84 = Geod(ellps="WGS84")
UTM, NORTH_UP = "EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_000_000)
LOCAL = 'LOCAL_CS["Site (m)",LOCAL_DATUM["Site",0],UNIT["metre",1]]'
MOON, MARS = "ESRI:104903", "+proj=eqc +R=3396190 +units=m +no_defs"
DISK = ("+proj=geos +h=35785831 +lon_0=0 +sweep=y", Affine(180e3, 0, -5.76e6, 0, -180e3, 5.76e6))
POLAR = Affine(1000, 0, -32e3, 0, -1000, 32e3)  # the pole in the middle of 64 pixels
ACROSS = ("EPSG:32760", Affine(100, 0, 816_500, 0, -100, 8_099_000))  # 180 degrees in the middle
row = Rows("Where it lies")


def raster(path, crs=None, transform=None, *, shape=(64, 64), data=None, rpcs=None, gcps=None):
    """Write a GeoTIFF of three bands (or of `data`), and return its path."""
    pixels = np.random.default_rng(0).integers(1, 255, (3, *shape), np.uint8)
    pixels = pixels if data is None else data
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": crs, "transform": transform}
    with rasterio.open(
        path, "w", driver="GTiff", count=len(pixels), height=pixels.shape[1],
        width=pixels.shape[2], dtype=pixels.dtype.name,
        **{name: value for name, value in place.items() if value is not None},
    ) as file:  # fmt: skip
        file.write(pixels)
        if rpcs is not None:
            file.rpcs = rpcs
        if gcps is not None:
            file.gcps = gcps
    return path


def opened(root, crs=None, transform=None, *, tile=32, **more):
    """Open a pool of one image, and return it."""
    raster(root / "images/a.tif", crs, transform, **more)
    return fv.open_pool(root / "images", tile=tile)


def corners(pool, transform, crs):
    """(n, 4, 2) longitude and latitude of the corners of tiles, by pyproj alone."""
    tiles = pool.tiles
    x = np.stack([tiles.x, tiles.x + tiles.w, tiles.x + tiles.w, tiles.x], axis=1)
    y = np.stack([tiles.y, tiles.y, tiles.y + tiles.h, tiles.y + tiles.h], axis=1)
    a = transform
    there = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = there.transform(a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f)
    return np.stack([lon, lat], axis=2)


def check_outlines(pool, expected):
    """Compare outlines with corners, and areas with those of geodesic polygons."""
    outlines = pool.footprints()
    assert shapely.is_valid(outlines).all()
    for outline, points in zip(outlines, expected, strict=True):
        assert shapely.hausdorff_distance(outline, shapely.Polygon(points)) < 1e-9
    areas = [abs(WGS84.geometry_area_perimeter(outline)[0]) for outline in outlines]
    np.testing.assert_allclose(pool.costs()["area"], areas, rtol=1e-6)
    assert not pool.notes


def check_off_earth(pool, kind, why):
    """Check that a pool has no place, does without, and says why."""
    place = pool.scenes[0].source.info.place
    assert place.kind == kind
    assert not pool.georeferenced
    assert "area" not in pool.costs()
    assert metres_per_pixel(pool.scenes[0].source.info) is None
    with pytest.raises(DataError, match=re.escape(why.split(". ")[0] or "has no georeference")):
        pool.footprints()
    texts = [str(note) for note in pool.notes if note.topic == "place"]
    assert len(texts) == bool(why)
    assert all(why in text and "'a'" in text for text in texts)


@row("on-earth")
@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, NORTH_UP),
        ("EPSG:4326", Affine(1e-4, 0, 15, 0, -1e-4, 50)),
        ("EPSG:3857", Affine(10, 0, 1.6e6, 0, -10, 6e6)),
        ("EPSG:2263", Affine(1, 0, 984_250, 0, -1, 200_000)),
    ],
)
def test_on_the_earth(tmp_path, crs, transform):
    pool = opened(tmp_path, crs, transform)
    check_outlines(pool, corners(pool, transform, crs))
    own = fv.open_pool(tmp_path / "images", tile=1).take([32 * 64 + 32])
    area = abs(WGS84.geometry_area_perimeter(shapely.Polygon(corners(own, transform, crs)[0]))[0])
    assert metres_per_pixel(pool.scenes[0].source.info) == pytest.approx(area**0.5, rel=0.011)


@row("heights")
@pytest.mark.parametrize(("crs", "flat"), [("EPSG:32633+5773", UTM), ("EPSG:4979", "EPSG:4326")])
def test_heights_do_not_count(tmp_path, crs, flat):
    transform = NORTH_UP if flat == UTM else Affine(1e-4, 0, 15, 0, -1e-4, 50)
    pool = opened(tmp_path, CRS(crs).to_wkt(), transform)
    check_outlines(pool, corners(pool, transform, flat))


@row("bound")
def test_a_bound_crs(tmp_path):
    crs = "+proj=utm +zone=33 +ellps=intl +towgs84=-87,-98,-121 +units=m"
    pool = opened(tmp_path, crs, NORTH_UP)
    check_outlines(pool, corners(pool, NORTH_UP, crs))


@row("turned")
@pytest.mark.parametrize(
    "transform",
    [
        Affine(10, 0, 500_000, 0, 10, 5_000_000),
        Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(10, -10),
    ],
)
def test_turned_rasters_lie_where_they_say(tmp_path, transform):
    pool = opened(tmp_path, UTM, transform)
    check_outlines(pool, corners(pool, transform, UTM))


@row("no-georeference", "world-file", "crs-only", "broken", "local", "planet", "no-degrees")
@pytest.mark.parametrize(
    ("crs", "transform", "kind", "why"),
    [
        (None, None, "none", ""),
        (None, NORTH_UP, "plane", "has no coordinate reference system. Assign it: gdal_edit.py"),
        (UTM, None, "none", "has a CRS, but no geotransform"),
        (UTM, Affine(math.nan, 0, 5e5, 0, -10, 5e6), "none", "values that are not finite"),
        (UTM, Affine(10, 0, math.inf, 0, -10, 5e6), "none", "values that are not finite"),
        (UTM, Affine(0, 0, 5e5, 0, 0, 5e6), "none", "pixels of zero area"),
        (UTM, Affine(10, 10, 5e5, 10, 10, 5e6), "none", "pixels of zero area"),
        (UTM, Affine(1e-9, 0, 5e5, 0, -1e-9, 5e6), "none", "too small for the precision"),
        (LOCAL, Affine(0.05, 0, 10, 0, -0.05, 6), "plane", "is in local coordinates (Site (m))"),
        (MOON, Affine(0.01, 0, 10, 0, -0.01, 6), "plane", "cannot be converted to longitudes"),
        (MARS, Affine(100, 0, 10, 0, -100, 6), "plane", "cannot be converted to longitudes"),
        ("EPSG:4326", Affine(0.001, 0, 47, 0, -0.001, 137), "plane", "Swap x and y"),
        ("EPSG:4326", NORTH_UP, "plane", "assign the CRS of these coordinates"),
    ],
)
def test_off_the_earth(tmp_path, crs, transform, kind, why):
    check_off_earth(opened(tmp_path, crs, transform), kind, why)


@row("control-points")
def test_control_points_alone(tmp_path):
    points = [GroundControlPoint(*at) for at in ((0, 0, 15, 46), (0, 64, 16, 46), (64, 0, 15, 45))]
    pool = opened(tmp_path / "gcp", gcps=(points, "EPSG:4326"))
    check_off_earth(pool, "none", "ground control points only. Warp it to a grid: gdalwarp IN")
    one, rest = [1.0] + [0.0] * 19, [0.0] * 17
    rpcs = RPC(
        height_off=0, height_scale=500, lat_off=45, lat_scale=1, long_off=15, long_scale=1,
        line_off=32, line_scale=32, samp_off=32, samp_scale=32, line_den_coeff=one,
        samp_den_coeff=one, line_num_coeff=[0.0, 0, -1, *rest], samp_num_coeff=[0.0, 1, 0, *rest],
    )  # fmt: skip
    pool = opened(tmp_path / "rpc", rpcs=rpcs)
    check_off_earth(pool, "none", "(RPC) only. Warp it to a grid: gdalwarp -rpc IN")


@row("beyond-projection")
@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        DISK,
        ("+proj=sinu +R=6371007.181", Affine(20_000, 0, -20_015_109, 0, -20_000, 1_111_950)),
        (UTM, Affine(10, 0, 1e12, 0, -10, 5e6)),
    ],
)
def test_beyond_the_projection(tmp_path, crs, transform):
    check_off_earth(opened(tmp_path, crs, transform), "plane", "extends beyond the valid area")


@row("some")
def test_some_scenes(tmp_path):
    raster(tmp_path / "images/a.tif")
    raster(tmp_path / "images/b.tif", UTM, NORTH_UP)
    raster(tmp_path / "images/c.tif", UTM, NORTH_UP)
    pool = fv.open_pool(tmp_path / "images")
    assert not pool.georeferenced
    (note,) = pool.notes
    assert note.items == ("a",)
    assert "1 of 3 images is treated as not georeferenced: 'a' has no georeference" in note.text


@row("longitudes-360")
def test_longitudes_to_360(tmp_path):
    pool = opened(tmp_path, "EPSG:4326", Affine(0.01, 0, 190, 0, -0.01, 17))
    assert shapely.total_bounds(pool.footprints()) == pytest.approx([-170, 16.36, -169.36, 17])


@row("across-180")
@pytest.mark.parametrize(
    ("crs", "transform"),
    [ACROSS, ("EPSG:4326", Affine(0.001, 0, 179.984, 0, -0.001, -17))],
)
def test_across_180(tmp_path, crs, transform):
    pool = opened(tmp_path, crs, transform)
    outlines = pool.footprints()
    parts = shapely.get_parts(outlines)
    west, _, east, _ = shapely.bounds(parts).T
    assert "MultiPolygon" in {outline.geom_type for outline in outlines}
    assert (east - west).max() < 0.1
    assert west.min() == -180
    assert east.max() == 180
    truth = corners(pool, transform, crs)
    truth[..., 0] %= 360
    areas = [abs(WGS84.geometry_area_perimeter(shapely.Polygon(points))[0]) for points in truth]
    np.testing.assert_allclose(pool.costs()["area"], areas, rtol=1e-6)
    lon, lat = middles(outlines)
    np.testing.assert_allclose(lon % 360, truth[..., 0].mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(lat, truth[..., 1].mean(axis=1), atol=1e-5)


@row("pole")
@pytest.mark.parametrize("tile", [64, 32, (64, 32)])
@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90), ("EPSG:3031", -90)])
def test_a_pole(tmp_path, crs, pole, tile):
    raster(tmp_path / "images/a.tif", crs, POLAR)
    down, across = (64 // side for side in (tile if isinstance(tile, tuple) else (tile, tile)))
    pool = fv.open_pool(tmp_path / "images", split=(down, across))
    outlines = pool.footprints()
    assert shapely.is_valid(outlines).all()
    assert shapely.bounds(outlines)[:, 3 if pole > 0 else 1].tolist() == [pole] * len(pool)
    # Points all over the raster lie in the tile of their pixel, and in no other.
    x, y = np.meshgrid(np.arange(0.5, 64, 3), np.arange(0.7, 64, 3))
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*(POLAR @ (x, y)))
    tiles = pool.tiles
    for i, outline in enumerate(outlines):
        inside = (x > tiles.x[i]) & (x < tiles.x[i] + tiles.w[i])
        inside &= (y > tiles.y[i]) & (y < tiles.y[i] + tiles.h[i])
        assert (shapely.contains_xy(outline, lon, lat) == inside).all()
    whole = shapely.segmentize(shapely.box(-32e3, -32e3, 32e3, 32e3), 100)
    back = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    around = shapely.transform(whole, lambda xy: np.stack(back.transform(*xy.T), axis=1))
    area = abs(WGS84.geometry_area_perimeter(around)[0])
    assert pool.costs()["area"].sum() == pytest.approx(area, rel=1e-3)


@row("all-around")
@pytest.mark.parametrize("west", [-180, 0])
def test_all_around(tmp_path, west):
    transform = Affine(5.625, 0, west, 0, -2.8125, 90)
    pool = opened(tmp_path, "EPSG:4326", transform, tile=64)
    (outline,) = pool.footprints()
    assert outline.bounds == (-180, -90, 180, 90)
    assert outline.area == pytest.approx(360 * 180)
    assert pool.costs()["area"][0] == pytest.approx(5.10065621724e14, rel=1e-9)
    four = fv.open_pool(tmp_path / "images", tile=16)
    assert shapely.union_all(four.footprints()).area == pytest.approx(360 * 180)


@row("area-budget")
def test_budgets_in_area(tmp_path):
    pool = opened(tmp_path, LOCAL, Affine(0.05, 0, 10, 0, -0.05, 6))
    with pytest.raises(BudgetError, match=r"needs georeferenced scenes\. Use pixels=50%"):
        fv.Budget.parse("area=50%").resolve(pool.costs())
    assert fv.Budget.parse("pixels=50%").resolve(pool.costs())["pixels"] == 2048


def curated(root, crs, transform):
    """A finished run that keeps all tiles of one image."""
    raster(root / "images/a.tif", crs, transform)
    done = here(
        "curate", root / "images", "--method", "random", "--tile", "32", "--budget", "100%",
        "--out", root / "run",
    )  # fmt: skip
    assert done.status == 0, done.err
    return root / "run"


@row("geojson")
def test_geojson(tmp_path):
    run = curated(tmp_path / "moon", MOON, Affine(0.01, 0, 10, 0, -0.01, 6))
    with pytest.raises(DataError, match=r"longitudes and latitudes of the Earth \(GCS_Moon.*csv"):
        export_run(run, "geojson", tmp_path / "x.geojson")
    assert not (tmp_path / "x.geojson").exists()
    assert export_run(run, "csv", tmp_path / "x.csv")
    run = curated(tmp_path / "sea", *ACROSS)
    export_run(run, "geojson", tmp_path / "x.geojson")
    for feature in json.loads((tmp_path / "x.geojson").read_text())["features"]:
        shape = shapely.geometry.shape(feature["geometry"])
        for part in shapely.get_parts(shape):
            assert part.exterior.is_ccw
            assert part.bounds[2] - part.bounds[0] < 0.1


@row("geoparquet")
def test_geoparquet(tmp_path):
    transform = Affine(0.01, 0, 10, 0, -0.01, 6)
    run = curated(tmp_path / "moon", MOON, transform)
    export_run(run, "geoparquet", tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    column = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
    assert CRS.from_json_dict(column["crs"]) == CRS(MOON)
    for shape, y, x in zip(
        shapely.from_wkb(table["geometry"].to_pylist()), table["y"].to_pylist(),
        table["x"].to_pylist(), strict=True,
    ):  # fmt: skip
        east, north = transform @ (x, y)
        assert shape.bounds == pytest.approx((east, north - 0.32, east + 0.32, north))
    run = curated(tmp_path / "world-file", None, NORTH_UP)
    with pytest.raises(DataError, match=r"no coordinate reference system.*coordinates in one CRS"):
        export_run(run, "geoparquet", tmp_path / "y.parquet")
    run = curated(tmp_path / "sea", *ACROSS)
    export_run(run, "geoparquet", tmp_path / "z.parquet")
    column = json.loads(pq.read_schema(tmp_path / "z.parquet").metadata[b"geo"])["columns"]
    assert column["geometry"]["geometry_types"] == ["Polygon", "MultiPolygon"]
    assert "crs" not in column["geometry"]


@row("select")
@pytest.mark.parametrize(("crs", "transform"), [(None, None), (LOCAL, NORTH_UP), (UTM, NORTH_UP)])
def test_what_select_writes(tmp_path, crs, transform):
    raster(tmp_path / "images/a.tif", crs, transform)
    target = overview_tiles(fv.open_pool(tmp_path / "images", split=(4, 4)))
    pool, order = target.pool, np.arange(16)
    ranking = Ranking(order, -order.astype(float), 16, pool.ids, pool.costs(), {"method": "x"})
    selection = ranking.at("3")
    files = save_selected(
        tmp_path / "run", target,
        TileScores(ranking, np.zeros(16), np.zeros(16), *np.zeros((2, 16), bool)), selection,
        budget=fv.Budget.parse("3"), about={}, spec=None,
    )  # fmt: skip
    assert ("tiles.geojson" in files) == (crs == UTM)
    assert (tmp_path / "run/tiles.geojson").exists() == (crs == UTM)
    assert ("tiles-native.parquet" in files) == (crs is not None)
    if crs is not None:
        table = pq.read_table(tmp_path / "run/tiles-native.parquet")
        first = shapely.from_wkb(table["geometry"][0].as_py())
        assert first.bounds == (500_000, 4_999_840, 500_160, 5_000_000)


@row("look")
def test_a_look_at_an_image_in_a_plane(tmp_path):
    raster(tmp_path / "a.tif", LOCAL, Affine(0.05, 0, 10, 0, -0.05, 6))
    done = here(
        "focus", "look", tmp_path / "a.tif", "--goal", "rare", "--crop", "32", "--out",
        tmp_path / "run", "--json",
    )  # fmt: skip
    assert done.status == 0, done.err
    look = json.loads((tmp_path / "run/looks/a.json").read_text())
    for region in look["regions"]:
        x, y = 10 + 0.05 * region["x"], 6 - 0.05 * region["y"]
        w, h = 0.05 * region["w"], 0.05 * region["h"]
        assert region["bounds"] == pytest.approx([x, y - h, x + w, y])
        assert not {"lon", "lat"} & set(region)
    assert not (tmp_path / "run/regions.geojson").exists()


def paired(root, image, mask, *, shape=(64, 64)):
    """Open an image and a mask, each ``(crs, transform)``."""
    raster(root / "images/a.tif", *image)
    labels = np.zeros((1, *shape), np.uint8)
    labels[:, : shape[0] // 2] = 1
    raster(root / "masks/a.tif", *mask, data=labels)
    return fv.open_pool(root / "images", masks=root / "masks", tile=32)


def moved(x, y):
    """The usual geotransform, by pixels elsewhere."""
    return NORTH_UP @ Affine.translation(x, y)


@row("same-ground")
@pytest.mark.parametrize("transform", [NORTH_UP, moved(0.5, 0.5), moved(-1.4, 0)])
def test_image_and_mask_of_the_same_ground(tmp_path, transform):
    pool = paired(tmp_path, (UTM, NORTH_UP), (UTM, transform))
    assert not pool.notes
    assert pool.counts.tolist() == [[0, 1024]] * 2 + [[1024, 0]] * 2


@row("spelling")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (UTM, CRS(UTM).to_wkt("WKT1_ESRI")),
        (UTM, CRS(UTM).to_wkt("WKT1_GDAL")),
        (UTM, "+proj=utm +zone=33 +ellps=WGS84 +units=m"),
        (UTM, CRS("EPSG:32633+5773").to_wkt()),
        ("EPSG:4326", CRS("OGC:CRS84").to_wkt()),
        ("EPSG:4326", CRS("EPSG:4979").to_wkt()),
        ("EPSG:31467", CRS("EPSG:31467").to_wkt("WKT1_ESRI")),
        ("EPSG:3857", "ESRI:102100"),
        (LOCAL, LOCAL.replace("Site", "Other")),
    ],
)
def test_one_crs_in_two_spellings(tmp_path, one, other):
    transform = Affine(1e-4, 0, 15, 0, -1e-4, 50) if one == "EPSG:4326" else NORTH_UP
    pool = paired(tmp_path, (one, transform), (other, transform))
    assert pool.counts[0].tolist() == [0, 1024]


@row("turns")
def test_longitudes_that_are_turns_apart(tmp_path):
    east, west = (Affine(1e-3, 0, lon, 0, -1e-3, 50) for lon in (190, -170))
    assert len(paired(tmp_path / "a", ("EPSG:4326", east), ("EPSG:4326", west))) == 4


@row("shifted", "flipped", "other-crs")
@pytest.mark.parametrize(
    ("mask", "why"),
    [
        ((UTM, moved(0, 3)), "covers EPSG:32633"),
        ((UTM, NORTH_UP @ Affine.scale(2)), "covers EPSG:32633"),
        ((UTM, Affine(10, 0, 1.5e6, 0, -10, 6e6)), "covers EPSG:32633"),
        ((UTM, Affine(10, 0, 500_000, 0, 10, 4_999_360)), "upside down"),
        ((UTM, Affine(-10, 0, 500_640, 0, -10, 5_000_000)), "mirrored"),
        ((UTM, moved(0, 64) @ Affine.rotation(-90)), "rotated"),
        (("EPSG:32632", NORTH_UP), "is in EPSG:32632, not in EPSG:32633"),
        (("EPSG:25833", NORTH_UP), "is in EPSG:25833, not in EPSG:32633"),
        (("EPSG:4326", Affine(1e-4, 0, 15, 0, -1e-4, 45.15)), "is in EPSG:4326"),
    ],
)
def test_a_mask_of_other_ground(tmp_path, mask, why):
    line = "gdalwarp -t_srs EPSG:32633 -te 500000 4999360 500640 5000000 -ts 64 64 -r near "
    with pytest.raises(DataError, match=why) as error:
        paired(tmp_path, (UTM, NORTH_UP), mask)
    assert f"{line}{tmp_path / 'masks/a.tif'} OUT.tif" in str(error.value)


@row("by-size", "plain")
def test_one_or_none_is_georeferenced(tmp_path):
    (note,) = paired(tmp_path / "a", (UTM, NORTH_UP), (None, None)).notes
    assert note.topic == "place"
    assert "by height and width alone: the mask of 'a' has no georeference" in note.text
    notes = paired(tmp_path / "b", (None, None), (UTM, NORTH_UP)).notes
    assert any("the image of 'a' has no georeference" in note.text for note in notes)
    assert not paired(tmp_path / "c", (None, None), (None, None)).notes


@row("further-bands")
def test_bands_of_other_ground(tmp_path):
    raster(tmp_path / "images/a.tif", UTM, NORTH_UP)
    raster(tmp_path / "height/a.tif", UTM, Affine(10, 0, 500_000, 0, 10, 4_999_360))
    with pytest.raises(DataError, match=r"upside down.*gdalwarp .* -r bilinear"):
        fv.open_pool(tmp_path / "images", extra=[tmp_path / "height"])


@row("overview")
def test_an_overview_of_other_ground(tmp_path):
    raster(tmp_path / "high/a.tif", UTM, NORTH_UP)
    for name, transform in (("right", NORTH_UP), ("wrong", moved(40, 0))):
        raster(tmp_path / name / "a.tif", UTM, transform @ Affine.scale(8), shape=(8, 8))
    common = ("observe", "prepare", tmp_path / "high", "--tiles", "4x4", "--lr")
    assert here(*common, tmp_path / "right", "--out", tmp_path / "pairs").status == 0
    done = here(*common, tmp_path / "wrong", "--out", tmp_path / "none")
    assert done.status == 1
    assert "and the scene cover different ground" in done.err
    assert "gdalwarp -t_srs EPSG:32633 -te 500000 4999360 500640 5000000" in done.err


def seen(root, pool, *geometries, bom=b"", **more):
    """(n,) bool: the tiles in which one of the shapes lies."""
    features = [
        {"type": "Feature", "properties": {"kind": "tank"}, "geometry": geometry}
        for geometry in geometries
    ]
    content = json.dumps({"type": "FeatureCollection", "features": features, **more})
    (root / "o.geojson").write_bytes(bom + content.encode())
    shares = concept_shares(pool, (Concept("tank"),), read_objects(root / "o.geojson"))
    return shares[:, 0] > 0


def point(x, y):
    return {"type": "Point", "coordinates": [x, y]}


def ring(*corners):
    return {"type": "Polygon", "coordinates": [[*map(list, corners), list(corners[0])]]}


def degrees(pool, number):
    """Longitude and latitude of the middle of a tile, by pyproj alone."""
    transform = pool.scenes[0].source.info.geobox.affine
    crs = pool.scenes[0].source.info.geobox.crs.to_wkt()
    tiles = pool.tiles
    x, y = tiles.x[number] + tiles.w[number] / 2, tiles.y[number] + tiles.h[number] / 2
    there = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    return there.transform(*(transform @ (float(x), float(y))))


@row("objects")
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_objects_lie_in_the_tiles_they_touch(tmp_path, bom):
    pool = opened(tmp_path, UTM, NORTH_UP)
    for number in range(4):
        hit = seen(tmp_path, pool, point(*degrees(pool, number)), bom=bom)
        assert np.flatnonzero(hit).tolist() == [number]


@row("objects-beyond-180", "objects-across-180")
def test_objects_across_180(tmp_path):
    pool = opened(tmp_path, *ACROSS, tile=16)
    outlines = pool.footprints()
    for number in (0, 3, 15):
        lon, lat = degrees(pool, number)
        for turn in (-360, 0, 360):
            if abs(lon + turn) <= 360:
                hit = seen(tmp_path, pool, point(lon + turn, lat))
                assert np.flatnonzero(hit).tolist() == [number]
    _, south, _, north = shapely.total_bounds(outlines)
    low, high = south + (north - south) / 3, north - (north - south) / 3
    west, east = 179.99, 180.01
    # By shapely alone, in longitudes from 0 to 360.
    tiles = corners(pool, ACROSS[1], ACROSS[0])
    tiles[..., 0] %= 360
    truth = shapely.intersects(shapely.polygons(tiles), shapely.box(west, low, east, high))
    assert truth.any() and not truth.all()  # noqa: PT018
    beyond = ring((west, low), (east, low), (east, high), (west, high))
    jumping = ring((west, low), (east - 360, low), (east - 360, high), (west, high))
    halves = {
        "type": "MultiPolygon",
        "coordinates": [
            ring((west, low), (180, low), (180, high), (west, high))["coordinates"],
            ring((-180, low), (east - 360, low), (east - 360, high), (-180, high))["coordinates"],
        ],
    }
    for shape in (beyond, jumping, halves):
        assert (seen(tmp_path, pool, shape) == truth).all()
    assert not seen(tmp_path, pool, point(0, (low + high) / 2)).any()


@row("objects-crs")
@pytest.mark.parametrize("name", ["urn:ogc:def:crs:EPSG::32633", "EPSG:32633", 32633])
def test_objects_in_the_crs_that_they_name(tmp_path, name):
    pool = opened(tmp_path, UTM, NORTH_UP)
    about = {"code": name} if isinstance(name, int) else {"name": name}
    hit = seen(tmp_path, pool, point(500_330, 4_999_990), crs={"type": "name", "properties": about})
    assert np.flatnonzero(hit).tolist() == [1]
    other = {"type": "link", "properties": {"href": "a.prj"}}
    with pytest.raises(DataError, match=r"is in the CRS .*ogr2ogr -t_srs EPSG:4326"):
        seen(tmp_path, pool, point(500_330, 4_999_990), crs=other)
    moon = {"type": "name", "properties": {"name": MOON}}
    with pytest.raises(DataError, match="can be transformed to"):
        seen(tmp_path, pool, point(10, 5), crs=moon)
    degrees84 = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    hit = seen(tmp_path, pool, point(*degrees(pool, 2)), crs=degrees84)
    assert np.flatnonzero(hit).tolist() == [2]


@row("objects-no-degrees")
@pytest.mark.parametrize("at", [(500_330, 4_999_990), (15, 100), (400, 45), (math.nan, 45)])
def test_objects_that_are_no_degrees(tmp_path, at):
    pool = opened(tmp_path, UTM, NORTH_UP)
    with pytest.raises(DataError, match=r"object number 1 .*ogr2ogr -s_srs"):
        seen(tmp_path, pool, point(*at))


@row("objects-exchanged")
def test_objects_with_x_and_y_exchanged(tmp_path, caplog):
    pool = opened(tmp_path, UTM, NORTH_UP)
    assert not seen(tmp_path, pool, point(*degrees(pool, 1)[::-1]), point(0, 0)).any()
    assert "none of the 2 objects" in caplog.text
    assert "1 would with x and y exchanged (longitude comes first)" in caplog.text


@row("objects-format")
@pytest.mark.parametrize("name", ["o.gpkg", "o.shp"])
def test_objects_in_other_formats(tmp_path, name):
    (tmp_path / name).write_bytes(b"SQLite format 3\x00\xff")
    with pytest.raises(DataError, match=r"GeoJSON.*ogr2ogr -t_srs EPSG:4326"):
        read_objects(tmp_path / name)


@row("objects-off-earth")
def test_objects_where_scenes_are_off_the_earth(tmp_path):
    pool = opened(tmp_path, LOCAL, Affine(0.05, 0, 10, 0, -0.05, 6))
    with pytest.raises(DataError, match=r"not georeferenced: the scene 'a' is in local.*y, x, h"):
        seen(tmp_path, pool, point(10.1, 5.9))


@row("covariate")
@pytest.mark.parametrize("west", [-180, 0])
def test_a_covariate_across_180(tmp_path, west):
    pool = opened(tmp_path, "EPSG:4326", Affine(0.05, 0, 178.4, 0, -0.05, 2), tile=32)
    step = 0.25
    lon = west + step * (np.arange(1440) + 0.5)
    values = np.broadcast_to(np.sin(np.radians(lon)), (1, 64, 1440)).astype(np.float32)
    away = raster(tmp_path / "c.tif", "EPSG:4326", Affine(step, 0, west, 0, -step, 8), data=values)
    found = tile_means(pool, away)
    edges = [(178.4, 180.0), (180.0, 181.6)] * 2
    for mean, (low, high) in zip(found, edges, strict=True):
        at = np.linspace(low, high, 2001)
        pixel = west + step * (np.floor(((at - west) % 360) / step) + 0.5)
        assert mean == pytest.approx(np.sin(np.radians(pixel)).mean(), abs=1e-4)
    mercator = Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)
    width = mercator.transform(180, 0)[0] / 180
    x = np.broadcast_to(np.abs(np.arange(360) - 179.5), (1, 10, 360)).astype(np.float32)
    away = raster(
        tmp_path / "m.tif", "EPSG:3857", Affine(width, 0, -180 * width, 0, -width, 5 * width),
        data=x,
    )  # fmt: skip
    one = opened(tmp_path / "one", "EPSG:4326", Affine(0.05, 0, 178.4, 0, -0.05, 2), tile=64)
    assert tile_means(one, away)[0] == pytest.approx((0.6 * 178.5 + 179.5) / 1.6, rel=1e-4)


@row("covariate-off-earth")
def test_a_covariate_off_the_earth(tmp_path):
    pool = opened(tmp_path / "a", UTM, NORTH_UP)
    plain = raster(tmp_path / "c.tif")
    with pytest.raises(DataError, match=r"c.tif' has no georeference.*gdal_edit.py"):
        tile_means(pool, plain)
    local = opened(tmp_path / "b", LOCAL, NORTH_UP)
    with pytest.raises(DataError, match="the scene 'a' is in local coordinates"):
        tile_means(local, raster(tmp_path / "d.tif", UTM, NORTH_UP))


def left(pool, path):
    """Return the numbers of the tiles that an excluded area leaves."""
    kept = Exclusion(str(path), 0.01)(pool)
    return np.flatnonzero(np.isin(pool.ids, kept.ids)).tolist(), [str(n) for n in kept.notes]


@row("excluded-across-180", "excluded-wide")
def test_polygons_of_excluded_areas_across_180(tmp_path):
    # Four tiles of a degree: from 179 to 180 and from -180 to -179, north and south.
    pool = opened(tmp_path, "EPSG:4326", Affine(1 / 32, 0, 179, 0, -1 / 32, 10))
    path = tmp_path / "areas.geojson"
    for west, east, south, kept in (
        (180.2, 181.0, 8.1, [0, 2]), (-179.8, -179.0, 8.1, [0, 2]), (-181.0, -180.2, 8.1, [1, 3]),
        (179.5, 180.5, 9.1, [2, 3]), (-180.5, -179.5, 9.1, [2, 3]), (-180.0, 180.0, 9.1, [2, 3]),
    ):  # fmt: skip
        path.write_text(json.dumps(ring((west, south), (east, south), (east, 9.9), (west, 9.9))))
        numbers, notes = left(pool, path)
        assert numbers == kept, (west, east)
        assert not any("longitude" in note for note in notes)
    path.write_text(json.dumps(ring((-179.5, 9.1), (179.5, 9.1), (179.5, 9.9), (-179.5, 9.9))))
    numbers, notes = left(pool, path)
    assert numbers == [2, 3]  # as written: all around, except for one degree
    assert "1 polygon in areas.geojson extends over more than 180 degrees" in notes[0]
    assert "ogr2ogr -wrapdateline" in notes[0]


@row("excluded-raster")
@pytest.mark.parametrize("west", [-180, 0])
def test_a_raster_of_excluded_areas_across_180(tmp_path, west):
    pool = opened(tmp_path / "p", "EPSG:4326", Affine(1 / 32, 0, -181, 0, -1 / 32, 10))
    step = 0.25
    lon = west + step * (np.arange(1440) + 0.5)
    for low, high, kept in ((179.5, 180, [1, 2, 3]), (180, 180.5, [0, 2, 3]), (179.5, 181, [2, 3])):
        values = ((lon % 360 > low) & (lon % 360 < high)).astype(np.float32)
        values = np.repeat(values[None, None], 4, axis=1)  # the northern degree
        path = raster(
            tmp_path / "r.tif", "EPSG:4326", Affine(step, 0, west, 0, -step, 10), data=values
        )
        numbers, _ = left(pool, path)
        assert numbers == kept


@row("excluded-nothing", "excluded-bands")
def test_pixels_of_excluded_areas(tmp_path):
    pool = opened(tmp_path / "p", UTM, NORTH_UP)
    values = np.zeros((1, 64, 64), np.float32)
    values[0, :32, :32], values[0, :32, 32:], values[0, 32:, :32] = np.nan, np.inf, -9
    values[0, 40, 40] = 1
    path = tmp_path / "r.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, height=64, width=64, dtype="float32",
                       crs=UTM, transform=NORTH_UP, nodata=-9) as file:  # fmt: skip
        file.write(values)
    numbers = np.isin(pool.ids, Exclusion(str(path))(pool).ids)
    assert numbers.tolist() == [True, True, True, False]
    several = raster(tmp_path / "s.tif", UTM, NORTH_UP)
    with pytest.raises(DataError, match=r"s.tif' has 3 bands.*gdal_translate -b 1"):
        Exclusion(str(several))(pool)
    at = [GroundControlPoint(*at) for at in ((0, 0, 15, 46), (0, 64, 16, 46), (64, 0, 15, 45))]
    points = raster(tmp_path / "g.tif", data=np.ones((1, 64, 64), np.uint8), gcps=(at, "EPSG:4326"))
    with pytest.raises(DataError, match=r"g.tif' is georeferenced by ground control.*gdalwarp"):
        Exclusion(str(points))(pool)


def cut_up(root, *, crs=UTM, transform=NORTH_UP, names="abcdef", **other):
    """Six parts of a scene in two rows of three, 16 x 20 pixels each, and the scene."""
    scene = np.random.default_rng(1).integers(1, 255, (3, 32, 60), np.uint8)
    for k, name in enumerate(names):
        y, x = 16 * (k // 3), 20 * (k % 3)
        place = None if transform is None else transform @ Affine.translation(x, y)
        where = {"crs": crs, "transform": place} | (other if name == "e" else {})
        raster(root / f"{name}.tif", data=scene[:, y : y + 16, x : x + 20], **where)
    return scene


@row("join-beside")
@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, NORTH_UP),
        (UTM, Affine(10, 0, 500_000, 0, 10, 5_000_000)),
        (UTM, Affine.translation(5e5, 5e6) @ Affine.rotation(20) @ Affine.scale(10, -10)),
        (LOCAL, NORTH_UP),
        (None, NORTH_UP),
    ],
)
def test_parts_side_by_side(tmp_path, crs, transform):
    scene = cut_up(tmp_path / "parts", crs=crs, transform=transform)
    joined = join(tmp_path / "parts", 2, 3)
    write_image(tmp_path / "scene.tif", joined.image, joined.geobox)
    with rasterio.open(tmp_path / "scene.tif") as file:
        assert (file.read() == scene).all()
        assert file.transform.almost_equals(transform)
        assert (file.crs is None) == (crs is None)
        assert crs is None or CRS(file.crs.to_wkt()) == CRS(raster_crs(tmp_path / "parts/a.tif"))


def raster_crs(path):
    with rasterio.open(path) as file:
        return file.crs.to_wkt()


@row("join-apart", "join-ignored")
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"names": "badcfe"}, "is not at its position in the grid"),
        ({"transform": moved(3, 0)}, "'.*e.tif' is not at its position"),
        ({"transform": NORTH_UP @ Affine.scale(2)}, "has other pixels on the ground"),
        ({"crs": "EPSG:32632"}, "is in EPSG:32632"),
        ({"crs": None, "transform": None}, "e.tif' has no georeference, other parts have one"),
    ],
)
def test_parts_that_lie_elsewhere(tmp_path, options, why):
    cut_up(tmp_path / "parts", names=options.get("names", "abcdef"))
    if "names" not in options:
        data = FileSource(str(tmp_path / "parts/e.tif")).read().data
        raster(
            tmp_path / "parts/e.tif", **{"crs": UTM, "transform": NORTH_UP, **options}, data=data
        )
    with pytest.raises(DataError, match=why) as error:
        join(tmp_path / "parts", 2, 3)
    assert "--ignore-georeference" in str(error.value)
    common = ("join", tmp_path / "parts", "--rows", "2", "--cols", "3", "--out", tmp_path / "s.tif")
    assert here(*common).status == 1
    done = here(*common, "--ignore-georeference")
    assert done.status == 0, done.err
    assert "none, that of the parts was ignored" in done.out
    assert FileSource(str(tmp_path / "s.tif")).info.geobox is None


@row("join-plain")
def test_parts_without_a_georeference(tmp_path):
    scene = cut_up(tmp_path / "plain", crs=None, transform=None)
    common = ("--rows", "2", "--cols", "3", "--out")
    done = here("join", tmp_path / "plain", *common, tmp_path / "a.tif")
    assert "the parts have none, so their order was not checked" in done.out
    assert (FileSource(str(tmp_path / "a.tif")).read().data == scene).all()
    cut_up(tmp_path / "placed")
    done = here("join", tmp_path / "placed", *common, tmp_path / "a.png")
    assert "none, PNG does not support it; use .tif" in done.out


def test_every_row_has_its_test_and_every_test_its_row():
    row.check()
