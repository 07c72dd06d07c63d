"""The curve, the boxes and the metadata of GeoParquet 1.1."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from foveate.files import read_parquet, write_parquet
from foveate.geoparquet import hilbert, spatial_order


def table(shapes):
    cells = pa.array(shapely.to_wkb(np.asarray(shapes, object)), pa.binary())
    return pa.table({"n": np.arange(len(shapes)), "geometry": cells})


@pytest.mark.parametrize("bits", [1, 2, 3, 5])
def test_the_curve_visits_every_cell_once_and_steps_to_neighbours(bits):
    side = 2**bits
    y, x = (a.ravel() for a in np.mgrid[:side, :side])
    place = hilbert(x, y, bits)
    assert sorted(place.tolist()) == list(range(side * side))
    order = np.argsort(place)
    steps = np.abs(np.diff(x[order])) + np.abs(np.diff(y[order]))
    assert (steps == 1).all()


def test_it_is_the_curve_of_geopandas():
    geopandas = pytest.importorskip("geopandas")
    rng = np.random.default_rng(0)
    points = shapely.points(rng.uniform(-180, 180, 500), rng.uniform(-90, 90, 500))
    theirs = geopandas.GeoSeries(points).hilbert_distance(level=16).to_numpy()
    ours = spatial_order(table(points)["geometry"])
    # Cells are rounded in another way: the order is theirs but for close pairs.
    rank = np.argsort(np.argsort(theirs, kind="stable"))[ours]
    assert np.abs(rank - np.arange(500)).max() <= 2


@given(st.lists(st.tuples(st.floats(-180, 179), st.floats(-90, 89)), min_size=1, max_size=20))
def test_an_order_has_every_row_once(corners):
    shapes = [shapely.box(x, y, x + 1, y + 1) for x, y in corners]
    assert sorted(spatial_order(table(shapes)["geometry"]).tolist()) == list(range(len(shapes)))


def test_rows_without_a_shape_come_last():
    found = spatial_order(table([None, shapely.Point(1, 1), shapely.Point(0, 0)])["geometry"])
    assert found.tolist() == [2, 1, 0]


def test_every_row_has_its_box_and_reading_back_leaves_it_out(tmp_path):
    shapes = [shapely.box(0, 0, 1, 2), shapely.MultiPolygon([shapely.box(5, 5, 6, 6)])]
    write_parquet(tmp_path / "a.parquet", table(shapes), geo={"geometry": None})
    raw = pq.read_table(tmp_path / "a.parquet")
    assert raw["bbox"].to_pylist()[0] == {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 2}
    column = json.loads(raw.schema.metadata[b"geo"])["columns"]["geometry"]
    assert column["covering"] == {
        "bbox": {k: ["bbox", k] for k in ("xmin", "ymin", "xmax", "ymax")}
    }
    assert column["geometry_types"] == ["Polygon", "MultiPolygon"]
    assert column["bbox"] == [0, 0, 6, 6]
    assert read_parquet(tmp_path / "a.parquet").column_names == ["n", "geometry"]


def test_geopandas_reads_by_the_boxes(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    shapes = [shapely.box(i, 0, i + 0.5, 1) for i in range(50)]
    write_parquet(tmp_path / "a.parquet", table(shapes), geo={"geometry": None}, spatial=True)
    found = geopandas.read_parquet(tmp_path / "a.parquet", bbox=(10.1, 0, 12.2, 1))
    assert sorted(found["n"]) == [10, 11, 12]
