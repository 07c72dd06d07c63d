import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from foveate.errors import DataError, ParameterError, StorageError, UnknownNameError
from foveate.export import TARGETS, export_run
from foveate.files import write_json, write_parquet


def write_run(path, *, geo=True, ids=("s/a", "s/b", "s/c"), methods=("lc", "fa")):
    """Write what an export reads of a run: run.json and the selections, best first."""
    for shift, name in enumerate(methods):
        order = np.roll(np.arange(3), shift)
        table = pa.table(
            {
                "rank": [1, 2, 3], "tile_id": [ids[i] for i in order], "scene": ["s"] * 3,
                "level": [0] * 3, "y": [0] * 3, "x": (order * 10).tolist(), "h": [10] * 3,
                "w": [10] * 3, "score": [1.0, 0.5, float("nan")], "cost_tiles": [1.0] * 3,
                "weight": [1.0] * 3,
            }
        ).take([2, 0, 1])  # fmt: skip
        if geo:
            boxes = shapely.box(order * 0.1, 50, order * 0.1 + 0.1, 50.123456789)
            cells = pa.array(shapely.to_wkb(boxes[[2, 0, 1]]))
            table = table.append_column("geometry", cells)
        write_parquet(
            path / f"selection/{name}.parquet", table, geo={"geometry": None} if geo else None
        )
    write_json(
        path / "run.json",
        {"schema": 1, "steps": {}, "summary": {"methods": {m: {} for m in methods}}},
    )
    return path


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_geojson(run, tmp_path):
    (path,) = export_run(run, "geojson", tmp_path / "new/out.geojson")
    content = json.loads(path.read_text())
    assert set(content) == {"type", "features"}  # RFC 7946: no "crs" member
    features = content["features"]
    places = [(f["properties"]["method"], f["properties"]["rank"]) for f in features]
    assert places == [("lc", 1), ("lc", 2), ("lc", 3), ("fa", 1), ("fa", 2), ("fa", 3)]
    assert [f["properties"]["tile_id"] for f in features[3:]] == ["s/c", "s/a", "s/b"]
    assert features[2]["properties"]["score"] is None
    assert "level" not in features[0]["properties"]
    assert features[0]["properties"]["cost_tiles"] == 1
    ring = features[0]["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    assert shapely.is_ccw(shapely.LinearRing(ring))
    assert max(y for _, y in ring) == 50.1234568
    assert max(x for x, _ in ring) == 0.1


def test_geoparquet(run, tmp_path):
    (path,) = export_run(run, "geoparquet", tmp_path / "out.parquet", ["fa"])
    table = pq.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["primary_column"] == "geometry"
    assert geo["columns"]["geometry"]["encoding"] == "WKB"
    assert table["method"].to_pylist() == ["fa"] * 3
    # Along a Hilbert curve, here from west to east; the order of choice is a column.
    assert table["rank"].to_pylist() == [2, 3, 1]
    assert shapely.from_wkb(table["geometry"][0].as_py()).bounds[0] == 0
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert table["bbox"][0].as_py()["ymin"] == 50


def test_csv_with_geometry(run, tmp_path):
    (path,) = export_run(run, "csv", tmp_path / "out.csv", ["fa", "lc", "fa"])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["method"] for r in rows] == ["fa"] * 3 + ["lc"] * 3
    assert rows[2]["score"] == ""
    assert shapely.from_wkt(rows[4]["geometry"]).bounds == (0.1, 50, 0.2, 50.1234568)
    assert list(rows[0]) == [
        "method", "rank", "tile_id", "scene", "y", "x", "h", "w", "score", "cost_tiles", "weight",
        "geometry",
    ]  # fmt: skip


def test_csv_cells_are_no_formulas(tmp_path):
    ids = ('=HYPERLINK("http://x")', "+1,2\n3", "@sum")
    run = write_run(tmp_path / "run", geo=False, ids=ids, methods=("lc",))
    (path,) = export_run(run, "csv", tmp_path / "out.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["tile_id"] for r in rows] == [f"'{name}" for name in ids]
    assert "geometry" not in rows[0]


@pytest.mark.parametrize("to", ["geojson", "geoparquet"])
def test_no_georeference(tmp_path, to):
    run = write_run(tmp_path / "run", geo=False)
    out = tmp_path / f"out{TARGETS.get(to).suffixes[0]}"
    with pytest.raises(DataError, match=r"not georeferenced.*--to csv"):
        export_run(run, to, out)
    assert not out.exists()


def test_unknown_names(run, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'geojson'"):
        export_run(run, "geojsn", tmp_path / "x.geojson")
    for other in ("shp", "GPKG", ".kml"):
        with pytest.raises(UnknownNameError, match=r"Known: geojson.*Use --to geojson.*ogr2ogr"):
            export_run(run, other, tmp_path / "x.shp")
    with pytest.raises(UnknownNameError, match="It has: lc, fa"):
        export_run(run, "csv", tmp_path / "x.csv", ["fb"])


def test_out_must_be_a_file_of_that_kind(run, tmp_path):
    with pytest.raises(ParameterError, match=r"is a folder.*selection\.csv"):
        export_run(run, "csv", tmp_path)
    with pytest.raises(ParameterError, match=r"does not end in \.parquet or \.geoparquet"):
        export_run(run, "geoparquet", tmp_path / "out.csv")
    assert export_run(run, "geojson", tmp_path / "OUT.JSON")


def test_methods_of_an_earlier_job_are_left_out(run, tmp_path):
    write_json(run / "run.json", {"schema": 1, "steps": {}, "summary": {"methods": {"fa": {}}}})
    (path,) = export_run(run, "csv", tmp_path / "out.csv")
    assert "lc," not in path.read_text()


def test_no_run_and_no_selection(tmp_path):
    with pytest.raises(DataError, match="holds no run"):
        export_run(tmp_path, "csv", tmp_path / "x.csv")
    write_json(tmp_path / "run.json", {"schema": 1, "steps": {}})
    with pytest.raises(DataError, match=r"has no selection.*finish the run"):
        export_run(tmp_path, "csv", tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("summary", "says"),
    [({"embeddings": {"shape": [3, 2]}}, "run foveate curate"), ({"pairs": 3}, "focus")],
)
def test_a_finished_run_without_a_table_is_not_to_be_finished(summary, says, tmp_path):
    write_json(tmp_path / "run.json", {"schema": 1, "steps": {}, "summary": summary})
    with pytest.raises(DataError, match=says) as caught:
        export_run(tmp_path, "csv", tmp_path / "x.csv")
    assert "Finish" not in str(caught.value)


def test_cannot_write(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        export_run(run, "csv", tmp_path / "file/out.csv")
    old = tmp_path / "out.geojson"
    old.write_text("old")
    broken = run / "selection/lc.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="as Parquet"):
        export_run(run, "geojson", old)
    assert old.read_text() == "old"
