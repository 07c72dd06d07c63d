"""The table "Tables" of docs/what-counts.md, row by row."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from command import here
from pyproj import CRS, Transformer
from table_rows import Rows

from foveate.curate import rank
from foveate.curate.start import read_ids
from foveate.errors import DataError, ParameterError
from foveate.files import write_csv
from foveate.grid import Tiles
from foveate.pool import Pool, open_embeddings
from foveate.pool.attribute_file import add_attributes

row = Rows("Tables")


@pytest.fixture
def pool():
    tiles = Tiles.concat([Tiles.of(name, [(0, 0, 4, 4)]) for name in ("007", "7", "NA")])
    return Pool(ids=tiles.tile_id, tiles=tiles)


@pytest.fixture
def read(pool, tmp_path):
    """Read a column "v" of a CSV table with a row for each scene."""

    def given(*values, encoding="utf-8", names=("007", "7", "NA")):
        rows = [f"{name},{value}" for name, value in zip(names, values, strict=True)]
        (tmp_path / "t.csv").write_bytes("\r\n".join(["scene,v", *rows, ""]).encode(encoding))
        found = add_attributes(pool, tmp_path / "t.csv")
        return found.attributes["v"].tolist(), [str(note) for note in found.notes]

    return given


@row("table-ids", "table-mark", "table-utf16")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_ids_and_encodings(read, encoding):
    assert read("é", "b", "c", encoding=encoding) == (["é", "b", "c"], [])
    assert read(1, 2, 3, encoding=encoding) == ([1, 2, 3], [])


@row("table-latin")
def test_another_encoding(read):
    with pytest.raises(DataError, match=r"line 2.*Save it as UTF-8"):
        read("é", "b", "c", encoding="latin-1")


@row("table-zeros")
def test_leading_zeros(read):
    assert read("06", "6", "12")[0] == ["06", "6", "12"]
    assert read("0", "-1", "12")[0] == [0, -1, 12]


@row("table-missing", "table-quoted")
def test_words_for_missing_values(read):
    numbers, notes = read("1", "NA", "")
    assert np.isnan(numbers).tolist() == [False, True, True]
    assert not notes
    texts, notes = read("a", "NA", '"NA"')
    assert texts == ["a", "", "NA"]
    assert len(notes) == 1
    assert "1 value of the column 'v'" in notes[0]
    assert "put it in quotes" in notes[0]


@row("table-nan")
def test_missing_values_belong_to_no_group(tmp_path):
    for name, values in (("x", [1.0, np.nan, np.nan]), ("x", ["a", "", None])):
        made = Pool.from_arrays(n=3, attributes={})
        pq.write_table(pa.table({"tile_id": made.ids, name: values}), tmp_path / "t.parquet")
        found = add_attributes(made, tmp_path / "t.parquet")
        assert found.attributes.codes("x")[0].tolist() == [0, -1, -1]


@row("table-infinite")
def test_infinite_values(read, pool, tmp_path):
    read("1", "inf", "")
    found = add_attributes(pool, tmp_path / "t.csv")
    with pytest.raises(ParameterError, match="1 infinite value"):
        rank(found, "column", name="v")


@row("table-separator")
@pytest.mark.parametrize("text", ["scene;v\n007;1,5\n", "scene\tv\n007\t1\n"])
def test_other_separators(pool, tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match="are separated by"):
        add_attributes(pool, tmp_path / "t.csv")


@row("table-comments")
def test_comments_of_lists(tmp_path):
    (tmp_path / "t.txt").write_text("# comment\n#\n#5/a\n\n b \n")
    assert read_ids(tmp_path / "t.txt") == ["#5/a", "b"]


@row("table-formula")
def test_exported_names_that_look_like_formulas(tmp_path):
    names = ["=1+1", "-lead", "@a", "'plain", "a\nb"]
    tiles = Tiles.concat([Tiles.of(name, [(0, 0, 4, 4)]) for name in names])
    write_csv(tmp_path / "t.csv", pa.table({"tile_id": tiles.tile_id, "scene": tiles.scene}))
    assert read_ids(tmp_path / "t.csv") == tiles.tile_id.tolist()
    write_csv(tmp_path / "t.csv", pa.table({"scene": names, "v": range(5)}))
    found = add_attributes(Pool(ids=tiles.tile_id, tiles=tiles), tmp_path / "t.csv")
    assert found.attributes["v"].tolist() == [0, 1, 2, 3, 4]
    assert not found.notes


@row("vectors-broken", "vectors-none")
@pytest.mark.parametrize(
    ("vectors", "why"),
    [
        ([[1.0, 2], [np.nan, 1]], "NaN or infinity"), ([[1.0, 2], [np.inf, 1]], "NaN or infinity"),
        ([[1.0, 2], None], "has no vector"), ([[1.0, 2], [1, None]], "is missing"),
        ([[1.0, 2], [1]], "different lengths"), ([], "has no rows"),
    ],
)  # fmt: skip
def test_vectors(tmp_path, vectors, why):
    table = {"id": ["a", "b"][: len(vectors)], "v": pa.array(vectors, pa.list_(pa.float64()))}
    pq.write_table(pa.table(table), tmp_path / "e.parquet")
    with pytest.raises(DataError, match=why):
        rank(*open_embeddings(tmp_path / "e.parquet")[:1], "kcenter",
             embeddings=open_embeddings(tmp_path / "e.parquet")[1])  # fmt: skip


def geometry(east, crs, *, arrow=False):
    """Return (metadata of the file, field, WKB) of a square of 0.01 degrees, in a CRS."""
    move = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    square = shapely.box(east, 50, east + 0.01, 50.01)
    there = shapely.transform(square, lambda xy: np.stack(move.transform(*xy.T), axis=1))
    stated = CRS(crs).to_json_dict()
    if arrow:
        name, metadata = b"geoarrow.wkb", json.dumps({"crs": stated}).encode()
        more = {b"ARROW:extension:name": name, b"ARROW:extension:metadata": metadata}
        return None, pa.field("shape", pa.binary(), metadata=more), there.wkb
    columns = {"geometry": {"encoding": "WKB", "geometry_types": [], "crs": stated}}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": columns}
    return {"geo": json.dumps(geo)}, pa.field("geometry", pa.binary()), there.wkb


@row("vectors-crs")
@pytest.mark.parametrize("arrow", [False, True])
@pytest.mark.parametrize("zones", [("EPSG:32632", "EPSG:32631"), ("EPSG:4326", "EPSG:32632")])
def test_each_file_has_its_own_crs(tmp_path, zones, arrow):
    for number, crs in enumerate(zones):
        metadata, field, shape = geometry(6 + number, crs, arrow=arrow)
        table = pa.table({"id": [str(number)], "v": [[1.0, number]]})
        table = table.append_column(field, pa.array([shape], pa.binary()))
        pq.write_table(
            table.replace_schema_metadata(metadata) if metadata else table,
            tmp_path / f"{number}.parquet",
        )
    pool, _ = open_embeddings(tmp_path)
    found = shapely.bounds(shapely.from_wkb(pool.outlines.to_pylist()))
    np.testing.assert_allclose(found[:, 0], [6, 7], atol=1e-7)
    np.testing.assert_allclose(found[:, 3], 50.01, atol=1e-5)


@row("vectors-srid")
def test_wkb_with_an_srid(tmp_path):
    _, field, shape = geometry(6, "EPSG:32632")
    for srid, known in ((32632, True), (0, False), (999999, False)):
        ewkb = shapely.to_wkb(shapely.set_srid(shapely.from_wkb(shape), srid), include_srid=True)
        table = pa.table({"id": ["a"], "v": [[1.0, 2.0]]})
        pq.write_table(
            table.append_column(field, pa.array([ewkb], pa.binary())), tmp_path / "e.parquet"
        )
        pool, _ = open_embeddings(tmp_path / "e.parquet")
        assert (pool.outlines is not None) == known == (not pool.notes)
        if known:
            found = shapely.from_wkb(pool.outlines[0].as_py()).bounds
            np.testing.assert_allclose(found[0], 6, atol=1e-7)


@row("vectors-types")
def test_files_of_different_types(tmp_path):
    for number, value in enumerate((1, "x")):
        table = pa.table({"id": [str(number)], "v": [[1.0, 2.0]], "label": [value]})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    with pytest.raises(DataError, match=r"'label' is string in .*1.parquet' and int64 in"):
        open_embeddings(tmp_path)


@row("vectors-folders")
def test_folders_of_files(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        table = pa.table({"id": [str(year)], "v": [[1.0, 2.0]]})
        pq.write_table(table, tmp_path / f"year={year}/0.parquet")
    with pytest.raises(DataError, match=r"only in its subfolders.*/\*\*/\*.parquet"):
        open_embeddings(tmp_path)
    done = here("curate", tmp_path, "--out", tmp_path / "run")
    assert "/**/*.parquet" in done.err
    pool, _ = open_embeddings(f"{tmp_path}/**/*.parquet")
    assert pool.ids.tolist() == ["2023", "2024"]


def test_every_row_has_its_test_and_every_test_its_row():
    row.check()
