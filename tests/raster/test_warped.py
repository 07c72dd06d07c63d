"""A raster read onto another grid."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from foveate.errors import DataError
from foveate.grid import Window
from foveate.raster import ArraySource, FileSource, close_files, write_cog
from foveate.raster.warped import bad_share, read_onto, window_onto

UTM = "EPSG:32633"
DRAW = np.random.default_rng(0)
NOISE = DRAW.integers(1, 255, (3, 300, 300)).astype(np.uint8)


def _box(step, x, y, side, crs=UTM):
    return GeoBox((side, side), Affine(step, 0, x, 0, -step, y), crs)


SOURCE = ArraySource(NOISE, geobox=_box(10, 500_000, 5_600_000, 300))


def test_on_one_lattice_pixels_are_cut():
    found = read_onto(SOURCE, _box(10, 500_300, 5_599_500, 64), bands=[3, 1])
    np.testing.assert_array_equal(found.data, NOISE[[2, 0], 50:114, 30:94])
    assert found.data.dtype == np.uint8
    assert found.valid.all()


def test_what_lies_beyond_is_invalid():
    found = read_onto(SOURCE, _box(10, 499_900, 5_600_100, 30))
    assert not found.valid[:10].any()
    assert not found.valid[:, :10].any()
    assert found.valid[10:, 10:].all()
    nowhere = read_onto(SOURCE, _box(10, 600_000, 5_600_000, 30))
    assert not nowhere.valid.any()
    assert window_onto(SOURCE.info, _box(10, 600_000, 5_600_000, 30)) is None
    assert window_onto(SOURCE.info, _box(0.01, -179, 80, 30, "EPSG:4326")) is None


@pytest.mark.parametrize("times", [2, 3])
def test_finer_pixels_are_averaged(times):
    side = 30
    found = read_onto(SOURCE, _box(10 * times, 500_300, 5_599_500, side))
    cut = NOISE[:, 50 : 50 + side * times, 30 : 30 + side * times].astype(float)
    wanted = cut.reshape(3, side, times, side, times).mean(axis=(2, 4))
    assert np.abs(found.data - wanted).max() <= 0.5 + 1e-3


def test_pixels_of_another_size_are_averaged_over_their_areas():
    """0.6 m onto 1 m: five by five of 0.2 m make a pixel."""
    values = DRAW.random((1, 300, 300)).astype(np.float32)
    source = ArraySource(values, geobox=_box(0.6, 500_000, 5_600_000, 300))
    found = read_onto(source, _box(1, 500_030, 5_599_970, 90))
    fine = np.kron(values[0], np.ones((3, 3)))[150:600, 150:600]
    wanted = fine.reshape(90, 5, 90, 5).mean(axis=(1, 3))
    np.testing.assert_allclose(found.data[0], wanted, atol=1e-4)


def test_another_crs_is_interpolated():
    y, x = np.mgrid[:300, :300]
    plane = ArraySource((1000 + 2 * x + 3 * y)[None].astype(np.float32), geobox=SOURCE.geobox)
    grid = _box(1e-4, 15.01, 50.54, 50, "EPSG:4326")
    found = read_onto(plane, grid)
    lon, lat = 15.01 + (np.arange(50) + 0.5) * 1e-4, 50.54 - (np.arange(50) + 0.5) * 1e-4
    there = Transformer.from_crs("EPSG:4326", UTM, always_xy=True)
    east, north = there.transform(*np.meshgrid(lon, lat))
    wanted = 1000 + 2 * ((east - 500_000) / 10 - 0.5) + 3 * ((5_600_000 - north) / 10 - 0.5)
    assert found.valid.all()
    np.testing.assert_allclose(found.data[0], wanted, atol=0.7)  # an eighth of a pixel


def test_invalid_pixels_take_no_part():
    valid = np.ones((300, 300), bool)
    valid[60:120, 60:120] = False
    data = np.where(valid, NOISE, 255).astype(np.uint8)
    holed = ArraySource(np.minimum(data, 100), valid, SOURCE.geobox)
    found = read_onto(holed, _box(25, 500_000, 5_600_000, 100))
    assert found.data[:, found.valid].max() <= 100
    assert not found.valid[25:47, 25:47].any()
    assert found.valid[:23].all()


@pytest.mark.parametrize("part", [0, 1, 7, 8, 9, 16])
def test_pixels_are_valid_if_half_of_their_weight_is(part):
    valid = (np.arange(16) < part).reshape(4, 4)
    holed = ArraySource(NOISE[:, :120, :120], np.tile(valid, (30, 30)), _box(1, 5e5, 5.6e6, 120))
    found = read_onto(holed, _box(4, 5e5, 5.6e6, 30))
    alike = holed.read(out_shape=(30, 30))
    np.testing.assert_array_equal(found.valid, np.full((30, 30), part >= 8))
    np.testing.assert_array_equal(found.valid, alike.valid)
    assert np.abs(found.data.astype(int) - alike.data)[:, found.valid].max(initial=0) <= 1


@pytest.mark.parametrize("beyond", [1, 2, 3])
def test_what_lies_beyond_the_border_is_of_no_weight(beyond):
    source = ArraySource(NOISE[:, :120, :120], geobox=_box(1, 5e5, 5.6e6, 120))
    found = read_onto(source, _box(4, 5e5 - beyond, 5.6e6 - 40, 10))
    alike = source.read(Window(40, -beyond, 40, 40), out_shape=(10, 10))
    assert found.valid[:, 0].all() == (beyond <= 2)
    assert found.valid[:, 1:].all()
    np.testing.assert_array_equal(found.valid, alike.valid)


WORLD = DRAW.integers(1, 255, (1, 90, 180)).astype(np.uint8)


@pytest.mark.parametrize("nearest", [True, False])
@pytest.mark.parametrize(
    "grid",
    [
        GeoBox((12, 12), Affine(2, 0, -60, 0, -2, 40), "EPSG:4326"),  # the same pixels
        GeoBox((12, 12), Affine(2, 0, -12, 0, -2, 40), "EPSG:4326"),  # across 0 degrees
        GeoBox((20, 20), Affine(1.3, 0, -13, 0, -1.3, 40), "EPSG:4326"),
        GeoBox((8, 8), Affine(5.5, 0, 155, 0, -5.5, 40), "EPSG:4326"),  # across 180 degrees
        GeoBox((20, 20), Affine(60_000, 0, 100_000, 0, -60_000, 4.4e6), "EPSG:32721"),
        GeoBox((20, 20), Affine(60_000, 0, 100_000, 0, -60_000, 4.4e6), "EPSG:32601"),
    ],
)
def test_longitudes_of_full_turns_are_equal(grid, nearest):
    east = ArraySource(WORLD, geobox=GeoBox((90, 180), Affine(2, 0, 0, 0, -2, 90), "EPSG:4326"))
    both = ArraySource(
        np.roll(WORLD, 90, axis=2),
        geobox=GeoBox((90, 180), Affine(2, 0, -180, 0, -2, 90), "EPSG:4326"),
    )
    one, other = (read_onto(source, grid, nearest=nearest) for source in (east, both))
    assert one.valid.all()
    assert other.valid.all()
    assert np.abs(one.data.astype(int) - other.data).max() <= 1


def test_a_pole_inside_a_grid_is_read():
    source = ArraySource(
        WORLD, geobox=GeoBox((90, 180), Affine(2, 0, -180, 0, -2, 90), "EPSG:4326")
    )
    grid = GeoBox((200, 200), Affine(2e4, 0, -2e6, 0, -2e4, 2e6), "EPSG:3995")
    assert read_onto(source, grid).valid.all()


@pytest.mark.parametrize("centre", [(0, 0), (45, 170), (90, 0)])
def test_a_grid_beyond_the_projection_of_a_raster_is_read_where_it_has_coordinates(centre):
    crs = "+proj=ortho +lat_0={} +lon_0={} +datum=WGS84".format(*centre)
    source = ArraySource(NOISE, geobox=GeoBox((300, 300), Affine(6e3, 0, -9e5, 0, -6e3, 9e5), crs))
    globe = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    found = read_onto(source, globe, nearest=True)
    lon, lat = np.meshgrid(np.arange(-179.5, 180), np.arange(89.5, -90, -1))
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    col, row = (x + 9e5) / 6e3, (9e5 - y) / 6e3
    inside = (col > 0.01) & (col < 299.99) & (row > 0.01) & (row < 299.99)
    assert inside.sum() > 100
    assert found.valid[inside].all()
    assert found.valid.sum() <= inside.sum() + 10


def test_classes_are_not_mixed():
    names = ArraySource(DRAW.choice([3, 8], (1, 300, 300)).astype(np.uint8), geobox=SOURCE.geobox)
    found = read_onto(names, _box(7, 500_100, 5_599_900, 100), nearest=True)
    assert set(np.unique(found.data).tolist()) == {3, 8}


def test_overviews_of_a_file_are_not_read(tmp_path):
    """GDAL would take them: those of this file hold other values."""
    fine = np.kron(DRAW.choice([0, 200], (1, 256, 256)), np.ones((1, 4, 4))).astype(np.uint8)
    geobox = GeoBox((1024, 1024), Affine(1, 0, 500_000, 0, -1, 5_600_000), UTM)
    write_cog(tmp_path / "a.tif", fine, geobox=geobox, overviews="nearest")
    found = read_onto(FileSource(str(tmp_path / "a.tif")), _box(8, 500_000, 5_600_000, 128))
    wanted = fine.reshape(128, 8, 128, 8).mean(axis=(1, 3))
    assert np.abs(found.data[0] - wanted).max() <= 0.5 + 1e-3


def test_a_truncated_raster_of_excluded_areas_is_refused(tmp_path):
    path = tmp_path / "a.jpg"
    size = {"count": 1, "height": 300, "width": 300, "dtype": "uint8"}
    geo = {"crs": UTM, "transform": SOURCE.geobox.affine}
    with rasterio.open(path, "w", driver="JPEG", **size, **geo) as file:
        file.write(NOISE[:1])
    window = Window(200, 0, 100, 100)
    assert bad_share(str(path), SOURCE.geobox, [window])[0] > 0.9
    close_files()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(DataError, match="truncated"):
        bad_share(str(path), SOURCE.geobox, [window])


def test_a_raster_without_a_place_is_refused():
    with pytest.raises(DataError, match="CRS"):
        read_onto(ArraySource(NOISE), _box(10, 0, 0, 10))


def test_a_window_holds_what_the_grid_needs():
    window = window_onto(SOURCE.info, _box(10, 500_300, 5_599_500, 64))
    assert isinstance(window, Window)
    assert window.y <= 50
    assert window.x <= 30
    assert window.y + window.h >= 114
    assert window.h < 64 + 10
