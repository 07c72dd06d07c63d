"""The mean of a raster over tiles."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from tests.helpers.observed import write_scenes

from foveate.errors import DataError
from foveate.observe.totals.covariates import tile_means
from foveate.pool import open_pool
from foveate.raster import write_cog

EAST, NORTH = 500000, 6e6  # the corner of the scenes


@pytest.fixture
def pool(tmp_path):
    """One scene of 60 x 80 m in 3 x 4 tiles of 20 m."""
    folder = write_scenes(tmp_path / "in", names=("a",))
    return open_pool(folder / "images", split=(3, 4))


def raster(path, values, gsd, corner=(EAST, NORTH), *, crs="EPSG:32633", nodata=None):
    box = GeoBox(values.shape, Affine(gsd, 0, corner[0], 0, -gsd, corner[1]), crs)
    write_cog(path, values.astype(np.float32), geobox=box, nodata=nodata)
    return path


@pytest.mark.parametrize("gsd", [0.5, 5, 20])
def test_pixels_that_tiles_are_made_of(pool, tmp_path, gsd):
    place = (np.arange(int(80 / gsd)) + 0.5) * gsd
    file = raster(tmp_path / "c.tif", np.tile(place, (int(60 / gsd), 1)), gsd)
    found = tile_means(pool, file).reshape(3, 4)
    assert np.allclose(found, [10, 30, 50, 70], atol=0.05)


def test_a_coarse_pixel_counts_by_the_part_of_the_tile_that_it_covers(pool, tmp_path):
    file = raster(tmp_path / "c.tif", np.array([[0.0, 8], [0, 8]]), 50)  # the edge is at 50 m
    found = tile_means(pool, file).reshape(3, 4)
    assert np.allclose(found, [0, 0, 4, 8], atol=0.05)


def test_another_reference_system(pool, tmp_path):
    from pyproj import Transformer

    there = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    lon, lat = there.transform(EAST, NORTH)
    step = 1e-5
    x = np.arange(200) * step + lon - 50 * step
    file = raster(
        tmp_path / "c.tif", np.tile((x - lon) / step, (200, 1)), step,
        (lon - 50 * step, lat + 50 * step), crs="EPSG:4326",
    )  # fmt: skip
    found = tile_means(pool, file).reshape(3, 4)
    slope = np.diff(found, axis=1)
    assert np.allclose(slope, slope.mean(), rtol=0.02)
    assert slope.mean() == pytest.approx(20 / 111320 / np.cos(np.radians(lat)) / step, rel=0.01)


def test_what_it_does_not_reach_is_not_known(pool, tmp_path):
    values = np.ones((6, 6))
    values[:, 2:4] = -1
    found = tile_means(pool, raster(tmp_path / "c.tif", values, 10, nodata=-1)).reshape(3, 4)
    assert np.array_equal(np.isnan(found[0]), [False, True, False, True])
    away = raster(tmp_path / "far.tif", values, 10, (0, NORTH))
    with pytest.raises(DataError, match="no valid pixel in any of the 12 tiles"):
        tile_means(pool, away)


def test_both_lie_on_the_ground(pool, tmp_path):
    write_cog(tmp_path / "plain.tif", np.ones((6, 6), np.float32))
    with pytest.raises(DataError, match=r"plain.tif' has no georeference"):
        tile_means(pool, tmp_path / "plain.tif")
    plain = write_scenes(tmp_path / "plain", names=("a",), crs=None)
    with pytest.raises(DataError, match="the scene 'a' has no georeference"):
        tile_means(open_pool(plain / "images", split=(3, 4)), tmp_path / "plain.tif")
    with pytest.raises(DataError, match="cannot read"):
        tile_means(pool, tmp_path / "none.tif")
