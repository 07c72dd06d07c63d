"""Outlines and areas of tiles on the ground."""

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from foveate.budget import geodesic_area
from foveate.errors import ParameterError
from foveate.grid import Grid
from foveate.pool.footprints import footprints

UTM = GeoBox((20, 30), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
WGS84 = Geod(ellps="WGS84")


def test_footprints_in_the_scenes_own_coordinates_are_exact():
    polygons = footprints(Grid((20, 30), tile=10).tiles(), UTM, crs=None)
    assert polygons[0].bounds == (500_000, 4_999_900, 500_100, 5_000_000)
    assert shapely.union_all(polygons).bounds == tuple(UTM.boundingbox.bbox)
    assert sum(p.area for p in polygons) == UTM.boundingbox.polygon.area


def test_footprints_in_degrees_lie_where_the_scene_does():
    polygons = footprints(Grid((20, 30), tile=10).tiles(), UTM)
    lon, lat = shapely.get_coordinates(polygons).T
    assert lon.min() == pytest.approx(15.0)
    assert lat.max() == pytest.approx(45.15, abs=0.01)


def test_footprints_of_no_tiles_are_none():
    assert footprints(Grid((5, 5), 10, edge="drop").tiles(), UTM).shape == (0,)


def test_footprints_without_a_crs_say_so():
    plain = GeoBox((20, 30), UTM.affine, None)
    tiles = Grid((20, 30), tile=10).tiles()
    assert footprints(tiles, plain, crs=None).shape == (6,)
    with pytest.raises(ParameterError, match="no coordinate reference system"):
        footprints(tiles, plain)


def area_by_geod(polygons):
    return [abs(WGS84.geometry_area_perimeter(p)[0]) for p in polygons]


@pytest.mark.parametrize("latitude", [-80, -45, 0, 30, 60, 72, 80])
@pytest.mark.parametrize("pixel", [0.1, 1, 10, 100])
def test_areas_are_those_of_geodesic_polygons(latitude, pixel):
    to_utm = Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    east, north = to_utm.transform(17.5, latitude)
    geobox = GeoBox((1024, 1024), Affine(pixel, 0, east, 0, -pixel, north), "EPSG:32633")
    polygons = footprints(Grid((1024, 1024), 256).tiles(), geobox)
    np.testing.assert_allclose(geodesic_area(polygons), area_by_geod(polygons), rtol=1e-6)


def test_areas_across_the_antimeridian_and_around_the_pole():
    across = shapely.Polygon([(179.9, 10), (-179.9, 10), (-179.9, 10.2), (179.9, 10.2)])
    pole = GeoBox((64, 64), Affine(1000, 0, -32e3, 0, -1000, 32e3), "EPSG:3413")
    polygons = np.array([across, footprints(Grid((64, 64), 64).tiles(), pole)[0]])
    np.testing.assert_allclose(geodesic_area(polygons), area_by_geod(polygons), rtol=1e-6)
