"""Tables for other libraries, and objects that are one line in a notebook."""

import numpy as np
import pyarrow as pa
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

import foveate as fv
from foveate.errors import DataError, MissingExtraError
from foveate.raster import write_cog


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    root = tmp_path_factory.mktemp("tables")
    box = GeoBox((64, 96), Affine(1, 0, 500_000, 0, -1, 4_000_000), "EPSG:32633")
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        data = draw.integers(1, 255, (3, 64, 96), np.uint8)
        write_cog(root / f"{name}.tif", data, geobox=box, overviews="nearest")
    return fv.open_pool(root, tile=32)


def test_objects_are_one_line(pool):
    ranking = fv.curate.rank(pool, "random", seed=1)
    chosen = ranking.at(3)
    assert repr(pool) == "Pool(12 tiles of 2 scenes, 3 bands of uint8)"
    assert repr(pool.tiles) == "Tiles(12 of 2 scenes)"
    assert repr(ranking).startswith("Ranking(random: 12 of 12 rows, first ")
    assert repr(chosen) == "Selection(random: 3 of 12 rows, budget 3)"
    large = fv.Pool.from_arrays(n=1_000_000)
    assert repr(large) == "Pool(1,000,000 tiles)"


@pytest.mark.parametrize("kind", ["pool", "tiles", "ranking", "selection"])
def test_arrow_and_pandas_read_them(pool, kind):
    ranking = fv.curate.rank(pool, "random", seed=1)
    found = {
        "pool": pool, "tiles": pool.tiles, "ranking": ranking, "selection": ranking.at(3)
    }[kind]  # fmt: skip
    table = pa.table(found)
    assert "tile_id" in table.column_names
    pandas = pytest.importorskip("pandas")
    frame = found.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["tile_id"].tolist() == table["tile_id"].to_pylist()
    assert "geometry" not in frame


def test_geopandas_gets_outlines_and_ranks(pool):
    pytest.importorskip("geopandas")
    frame = pool.to_geopandas()
    assert frame.crs == "EPSG:4326"
    assert frame.geometry.is_valid.all()
    chosen = fv.curate.rank(pool, "random", seed=1).at(3)
    picks = chosen.to_geopandas(pool)
    assert picks["rank"].tolist() == [1, 2, 3]
    assert picks["tile_id"].tolist() == chosen.values.tolist()
    assert (picks.geometry.geom_equals(frame.geometry[chosen.rows].reset_index(drop=True))).all()


def test_what_has_no_outlines_says_so(pool):
    pytest.importorskip("geopandas")
    plain = fv.Pool.from_arrays(counts=[[1, 2], [3, 4]])
    assert pa.table(plain)["counts"].to_pylist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match="without outlines"):
        plain.to_geopandas()
    with pytest.raises(DataError, match="2 rows for a selection from 12"):
        fv.curate.rank(pool, "random").at(3).to_geopandas(plain)


def test_a_missing_library_is_named(pool, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        pool.to_pandas()
