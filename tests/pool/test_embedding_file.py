"""Files of embeddings: five layouts, and what is refused."""

from __future__ import annotations

import json
from uuid import UUID

import embedding_files as made
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS, Geod

from foveate.errors import DataError, FoveateError, ParameterError
from foveate.pool.embedding_columns import vector_columns
from foveate.pool.embedding_file import EmbeddingFile
from foveate.pool.embedding_sources import embedding_paths
from foveate.pool.outlines import read_outlines


def opened(path, *, column=None, id_column=None):
    return EmbeddingFile.open(embedding_paths([path]), column, id_column)


def write(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("layout", "ids", "dtype", "places", "known"),
    [
        ("earth-index", "id", np.float32, True, set()),
        ("clay", "chips_id", np.float16, True, {"datetime"}),
        ("major-tom", "unique_id", np.float32, True, {"product_id", "grid_cell", "centre_lat"}),
        ("shards", "tile_id", np.float16, True, {"scene", "valid_share"}),
        ("table", "row", np.float16, False, {"code", "quality", "minutes"}),
    ],
)
def test_each_layout(tmp_path, layout, ids, dtype, places, known):
    path = made.write(tmp_path, layout)
    file = opened(path, column="small" if layout == "table" else None)
    pool = file.pool()
    x = file.vectors(pool, tmp_path / "matrix.npy")
    assert file.id_column == ids
    assert x.x.dtype == dtype
    assert isinstance(x.x, np.memmap)
    assert (pool.ids == np.sort(pool.ids)).all()
    assert pool.georeferenced == places
    assert known <= set(pool.attributes or ())
    if layout == "shards":
        assert x.spec.name == "builtin"
        return
    stored = pq.read_table(path)
    order = [str(i) for i in stored[ids].to_pylist()] if ids != "row" else pool.ids.tolist()
    want = np.stack([np.asarray(v) for v in stored[file.column].to_pylist()])
    assert (x.align(order) == want.astype(dtype)).all()
    assert (file.vectors(pool).x == x.x).all()


def test_outlines_follow_the_ids_and_their_crs(tmp_path):
    path = made.write(tmp_path, "earth-index")
    pool, stored = opened(path).pool(), pq.read_table(path)
    of = dict(zip(stored["id"].to_pylist(), shapely.from_wkb(stored["geometry"].to_pylist()),
                  strict=True))  # fmt: skip
    assert all(shapely.equals(shape, of[name])
               for name, shape in zip(pool.ids, pool.footprints(), strict=True))  # fmt: skip
    utm = opened(made.write(tmp_path, "clay")).pool()
    west, south, east, north = shapely.bounds(utm.footprints()).T
    assert west.min() > 14.9
    assert east.max() < 17
    assert 36.1 < south.min() < north.max() < 36.2
    assert utm.costs()["area"].mean() == pytest.approx(2560**2, rel=2e-3)
    assert utm.costs()["ha"] == pytest.approx(utm.costs()["area"] / 1e4)
    nested = opened(made.write(tmp_path, "major-tom")).pool()
    assert nested.costs()["area"].sum() == pytest.approx(pool.costs()["area"].sum(), rel=1e-9)


def test_points_have_places_and_no_area(tmp_path):
    points = shapely.to_wkb(shapely.points(np.arange(4.0), 0))
    pool = opened(write(tmp_path / "a.parquet", e=made.fixed(np.eye(4)), geometry=points)).pool()
    assert pool.georeferenced
    assert "area" not in pool.costs()


@pytest.mark.parametrize(
    ("shapes", "why"),
    [([b"\x01\x01\x00\x00\x00" + np.array([5e5, 4e6]).tobytes()] * 3, "has no CRS"),
     ([b"\x01\x01\x00\x00\x00" + np.zeros(2).tobytes(), None, None], "2 of 3 rows")],
)  # fmt: skip
def test_a_geometry_that_places_nothing_is_noted(tmp_path, shapes, why):
    path = write(tmp_path / "a.parquet", e=made.fixed(np.eye(3)), geometry=pa.array(shapes))
    pool = opened(path).pool()
    assert not pool.georeferenced
    assert why in str(pool.notes[0])
    assert why in pool.unplaced


def read_in(crs, *shapes):
    """Outlines of shapes in a CRS of GeoParquet, and the reason why there are none."""
    geo = {"primary_column": "geometry", "columns": {"geometry": {"crs": crs}}}
    schema = pa.schema([("geometry", pa.binary())], metadata={b"geo": json.dumps(geo).encode()})
    column = pa.chunked_array([pa.array(shapely.to_wkb(shapes), pa.binary())])
    return read_outlines(column, schema, "geometry")


@pytest.mark.parametrize(
    ("crs", "why"),
    [(CRS("IAU_2015:30100").to_json_dict(), "cannot be converted"),  # the Moon, in degrees
     (CRS.from_wkt('LOCAL_CS["Site",LOCAL_DATUM["Site",0],UNIT["metre",1]]').to_json_dict(),
      "cannot be converted"),
     ({"type": "nonsense"}, "cannot be converted"),
     (CRS(32633).to_json_dict(), "beyond the valid area")],
)  # fmt: skip
def test_coordinates_of_another_crs_are_not_longitudes(crs, why):
    size = 1e8 if crs["type"] == "ProjectedCRS" else 1
    outlines, reason = read_in(crs, shapely.box(10 * size, 50 * size, 11 * size, 51 * size))
    assert outlines is None
    assert why in reason


@pytest.mark.parametrize("crs", [CRS(32760).to_json_dict(), CRS(32760).to_wkt(), "EPSG:32760"])
def test_an_outline_in_metres_across_180_degrees_is_cut_there(crs):
    square = shapely.box(816_500, 8_092_600, 822_900, 8_099_000)  # 180 degrees is in the middle
    outlines, why = read_in(crs, square)
    assert why == ""
    (shape,) = shapely.from_wkb(outlines.to_pylist())
    assert shape.geom_type == "MultiPolygon"
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(shape)
    assert abs(area) == pytest.approx(6400**2, rel=5e-3)


def test_several_files_are_one_pool(tmp_path):
    a = write(tmp_path / "a.parquet", id=["b", "d"], e=made.fixed(np.eye(2)))
    b = write(tmp_path / "b.parquet", id=["a", "c"], e=made.fixed(2 * np.eye(2)))
    for given in ([a, b], [tmp_path], [str(tmp_path / "*.parquet")]):
        file = EmbeddingFile.open(embedding_paths(given))
        x = file.vectors(file.pool())
        assert x.ids.tolist() == ["a", "b", "c", "d"]
        assert x.x.tolist() == [[2, 0], [1, 0], [0, 2], [0, 1]]
    some = file.pool().take([1, 3])
    assert file.vectors(some).x.tolist() == [[1, 0], [0, 1]]


def test_hidden_files_and_those_of_spark_are_no_tables(tmp_path):
    write(tmp_path / "a.parquet", id=["a"], v=[[1.0]])
    for name in ("._a.parquet", ".b.parquet", "_part.parquet"):
        (tmp_path / name).write_bytes(b"not a table")
    assert opened(tmp_path).pool().ids.tolist() == ["a"]


@pytest.mark.parametrize("kind", [pa.binary(16), pa.uuid()])
def test_binary_uuids_are_ids(tmp_path, kind):
    known = [UUID(int=i + 2**100) for i in range(3)]
    ids = pa.array([one.bytes for one in known], pa.binary(16)).cast(kind)
    path = write(tmp_path / "a.parquet", id=ids, v=[[1.0]] * 3)
    pool = opened(path).pool()
    assert pool.ids.tolist() == sorted(map(str, known))
    assert len(opened(path).vectors(pool)) == 3


def test_ids_that_are_no_text_are_refused(tmp_path):
    path = write(tmp_path / "a.parquet", id=[b"\xff\xfe", b"\xfe"], v=[[1.0], [2.0]])
    with pytest.raises(DataError, match="--id-column row"):
        opened(path).pool()


def test_columns_of_one_name_are_refused(tmp_path):
    table = pa.table([pa.array([[1.0]]), pa.array([1]), pa.array([2])], names=["v", "x", "x"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="2 columns named 'x'"):
        opened(tmp_path / "a.parquet")


def test_values_in_several_columns_are_explained(tmp_path):
    path = write(tmp_path / "a.parquet", id=["a"], f0=[1.0], f1=[2.0])
    with pytest.raises(DataError, match="several columns"):
        opened(path)


def test_every_small_integer_is_exact(tmp_path):
    for dtype in (np.int8, np.uint8):
        x = np.arange(256).reshape(16, 16).astype(dtype)
        file = opened(write(tmp_path / "a.parquet", e=made.fixed(x)))
        assert (file.vectors(file.pool()).x == x).all()


def test_a_box_is_no_vector(tmp_path):
    table = made.major_tom(8, np.random.default_rng(0))
    assert vector_columns(table.schema) == ["embedding"]


@pytest.mark.parametrize(
    ("columns", "error", "said"),
    [
        ({"id": ["a"], "v": [1.0]}, DataError, r"no column of vectors.*v \(double\)"),
        (
            {"e": [[1.0], [1.0, 2.0]]},
            DataError,
            "'e' have different lengths: row 1 has 2 values, row 0",
        ),
        ({"e": [[1.0], None]}, DataError, "row 1 has no vector"),
        ({"e": [[1.0, 2.0], [1.0, None]]}, DataError, "vector of row 1 in 'e' is missing"),
        ({"e": [[1.0]] * 3, "id": ["a", "b", "a"]}, DataError, "'a' occurs 2 times.*--id-column"),
        ({"e": [[1.0]] * 2, "id": ["a", None]}, DataError, "1 of 2 rows have no 'id'"),
        ({"e": [[1.0]], "f": [[1.0]]}, ParameterError, "vectors: e, f.*--column e"),
        ({"e": pa.array([], pa.list_(pa.float32()))}, DataError, "has no rows"),
    ],
)
def test_what_is_no_pool_is_refused(tmp_path, columns, error, said):
    def read():
        file = opened(write(tmp_path / "a.parquet", **columns))
        return file.vectors(file.pool())

    with pytest.raises(error, match=said):
        read()


def test_a_pool_without_rows_is_refused_before_its_vectors_are_read(tmp_path):
    file = opened(write(tmp_path / "a.parquet", e=pa.array([], pa.list_(pa.float32()))))
    with pytest.raises(DataError, match=r"a.parquet' has no rows"):
        file.pool()


def test_a_wrong_column_is_told_from_the_nearest(tmp_path):
    path = write(tmp_path / "a.parquet", embeddings=made.fixed(np.eye(2)), name=["x", "y"])
    with pytest.raises(ParameterError, match="Did you mean 'embeddings'"):
        opened(path, column="embedding")
    with pytest.raises(ParameterError, match="of type string"):
        opened(path, column="name")
    with pytest.raises(ParameterError, match="Did you mean 'name'"):
        opened(path, id_column="nam")
    assert opened(path, id_column="name").pool().ids.tolist() == ["x", "y"]


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="is not a Parquet file"):
        opened(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="does not exist"):
        opened(tmp_path / "b.parquet")


def test_what_is_imagery_and_what_is_not(tmp_path):
    path = made.write(tmp_path / "files", "clay")
    (tmp_path / "images").mkdir()
    assert embedding_paths([tmp_path / "images"]) is None
    assert embedding_paths([tmp_path / "files"]) == [path.parent]
    (path.parent / "collection.json").write_text("{}")  # as of `export --to embeddings`
    assert embedding_paths([tmp_path / "files"]) == [path.parent]
    assert EmbeddingFile.open([path.parent]).key == EmbeddingFile.open([path]).key
    with pytest.raises(ParameterError, match="together with a file of embeddings"):
        embedding_paths([path, tmp_path / "images"])


def test_a_run_that_is_still_embedding_says_how_to_finish_it(tmp_path):
    run = made.write(tmp_path, "shards")
    record = json.loads((run / "run.json").read_text())
    record["steps"] = {k: v for k, v in record["steps"].items() if not k.startswith("embed ")}
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"not finished.*without --shard"):
        opened(run)


def test_a_run_without_all_of_its_shards_is_refused(tmp_path):
    run = made.write(tmp_path, "shards")
    next(run.rglob("part-*.parquet")).unlink()
    with pytest.raises(FoveateError, match="1 of 1 shards are missing"):
        opened(run)
