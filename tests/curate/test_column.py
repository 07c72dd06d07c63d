"""Ranking by a column, and the tables that bring one."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foveate.curate import CurateJob, rank
from foveate.errors import DataError, ParameterError
from foveate.grid import Tiles, Window
from foveate.pool import Pool
from foveate.pool.attribute_file import add_attributes
from foveate.pool.attributes import Attributes
from foveate.pool.rules import Rules
from foveate.raster import write_cog
from foveate.run import Run


def pool(**columns):
    return Pool.from_arrays(n=len(next(iter(columns.values()))), attributes=columns)


def test_high_and_low_with_what_is_missing_last():
    given = pool(v=[0.5, np.nan, 2.0, -1.0])
    assert rank(given, "column").rows.tolist() == [2, 0, 3, 1]
    low = rank(given, "column", order="low")
    assert low.rows.tolist() == [3, 0, 2, 1]
    assert low.score[:3].tolist() == [1, -0.5, -2]
    assert np.isnan(low.score[3])


def test_one_of_several_is_named():
    given = pool(a=[1, 2], b=[True, False], c=["x", "y"])
    assert rank(given, "column", name="b").rows.tolist() == [0, 1]
    with pytest.raises(ParameterError, match=r"Numeric columns: a, b.*column\.name=a"):
        rank(given, "column")
    with pytest.raises(ParameterError, match=r"'c' is not numeric.*: a, b"):
        rank(given, "column", name="c")
    with pytest.raises(ParameterError, match="Columns of the pool: a, b, c"):
        rank(given, "column", name="bb")
    with pytest.raises(ParameterError, match="order='up'"):
        rank(given, "column", name="a", order="up")
    with pytest.raises(DataError, match="needs attributes"):
        rank(Pool.from_arrays(n=2), "column")


def test_attributes_of_every_kind():
    found = Attributes(pa.table({
        "whole": pa.array([1, None, 3]), "half": pa.array(np.array([1, 2, 3], np.float16)),
        "day": pa.array(np.array(["2024-01-02"] * 3, "M8[D]")), "on": [True, None, False],
        "text": pa.array(["b", None, "a"]).dictionary_encode(), "list": [[1], [2], [3]],
    }))  # fmt: skip
    assert list(found) == ["whole", "half", "day", "on", "text"]
    assert np.array_equal(found["whole"], [1, np.nan, 3], equal_nan=True)
    assert found["half"].tolist() == [1, 2, 3]
    assert np.array_equal(found["on"], [1, np.nan, 0], equal_nan=True)
    assert found["text"].tolist() == ["b", "", "a"]
    assert found["day"].tolist() == ["2024-01-02"] * 3
    codes, values = found.codes("text")
    assert (codes.tolist(), values) == ([1, -1, 0], ["a", "b"])
    assert found.take(np.array([2, 0]))["text"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "values", [[1, np.nan, np.nan, 2], np.array(["b", None, np.nan, "c"], object)]
)
def test_nan_is_missing_and_not_a_group(values):
    assert Attributes.of({"g": values}).codes("g")[0].tolist() == [0, -1, -1, 1]


def test_nan_in_a_table_is_missing_and_not_a_group():
    table = pa.table({"g": [1.0, np.nan, np.nan, 2.0]})  # pyarrow keeps NaN apart from null
    table = table.append_column("d", table["g"].dictionary_encode())
    for name in ("g", "d"):
        codes, values = Attributes(table).codes(name)
        assert (codes.tolist(), values) == ([0, -1, -1, 1], ["1.0", "2.0"])
    pool = Pool.from_arrays(n=4, attributes=Attributes(table))
    assert Rules(groups="g").constraint(pool).rules == ()


@pytest.fixture
def tiles():
    windows = [[0, 4 * i, 4, 4] for i in range(3)]
    both = Tiles.concat([Tiles.of("d/a", windows), Tiles.of("d/b", windows)])
    return Pool(ids=both.tile_id, tiles=both, excluded={"d/a/gone": "empty"})


def test_a_table_by_tile(tiles, tmp_path):
    rows = [*tiles.ids[[4, 0]], "d/a/gone", "elsewhere"]
    pq.write_table(pa.table({"tile_id": rows, "v": [1.0, 2, 3, 4]}), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text(
        "tile_id,v\n" + "".join(f"{r},{i + 1}\n" for i, r in enumerate(rows))
    )
    for name in ("t.parquet", "t.csv"):
        found = add_attributes(tiles, tmp_path / name)
        assert np.array_equal(found.attributes["v"], [2, *[np.nan] * 3, 1, np.nan], equal_nan=True)
        said = [str(note) for note in found.notes]
        assert "4 of 6 tiles have no row" in said[0]
        assert "1 of 4 rows" in said[1]
        assert "'elsewhere'" in said[1]


def test_a_table_by_scene_holds_for_its_tiles(tiles, tmp_path):
    (tmp_path / "t.csv").write_text("scene,city\nb.tif,0012\nd/a,Köln\n")
    found = add_attributes(tiles, tmp_path / "t.csv")
    assert found.attributes["city"].tolist() == ["Köln"] * 3 + ["0012"] * 3
    assert not found.notes
    both = add_attributes(found, _csv(tmp_path, "scene,n\nd/a,1\nd/b,2\n"))
    assert list(both.attributes) == ["city", "n"]
    with pytest.raises(DataError, match="two columns are named 'city'"):
        add_attributes(found, tmp_path / "t.csv")


def test_names_that_look_like_missing_values_are_names(tmp_path):
    names = ["NA", "nan", "null"]
    tiles = Tiles.concat([Tiles.of(name, [Window(0, 0, 8, 8)]) for name in names])
    pool = Pool(ids=tiles.tile_id, tiles=tiles)
    path = _csv(tmp_path, 'scene,v,note\nNA,1,NA\nnan,2,"NA"\nnull,3,""\n')
    found = add_attributes(pool, path)
    assert found.attributes["v"].tolist() == [1, 2, 3]
    # In a column of text, such a word is a value only in quotes, which is said.
    assert found.attributes["note"].tolist() == ["", "NA", ""]
    (note,) = found.notes
    assert str(note).startswith("1 value of the column 'note' of the table")
    assert "is missing: NA. If a word is a value, put it in quotes" in str(note)


def test_codes_with_leading_zeros_are_text(tiles, tmp_path):
    table = _csv(tmp_path, "scene,county,size\nd/a,07,10\nd/b,7,0\n")
    found = add_attributes(tiles, table).attributes
    assert found["county"].tolist() == ["07"] * 3 + ["7"] * 3
    assert found["size"].tolist() == [10] * 3 + [0] * 3
    assert found.codes("county")[1] == ["07", "7"]


def test_tables_are_utf_8_or_say_that_they_are_utf_16(tiles, tmp_path):
    text = "scene,city\nd/a,Köln\nd/b,Bonn\n"
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("utf-16"))
    found = add_attributes(tiles, path)
    assert found.attributes["city"].tolist() == ["Köln"] * 3 + ["Bonn"] * 3
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"line 2.*Save it as UTF-8"):
        add_attributes(tiles, path)


def test_nan_and_empty_text_are_no_values():
    found = Attributes(pa.table({
        "x": [1.0, np.nan, np.nan], "half": np.array([1, 2, np.nan], np.float16),
        "text": ["a", "", "a"],
        "coded": pa.DictionaryArray.from_arrays([0, 1, 2], ["b", None, ""]),
    }))  # fmt: skip
    for name, codes, values in (
        ("x", [0, -1, -1], ["1.0"]), ("half", [0, 1, -1], ["1.0", "2.0"]),
        ("text", [0, -1, 0], ["a"]), ("coded", [0, -1, -1], ["b"]),
    ):  # fmt: skip
        coded, known = found.codes(name)
        assert (coded.tolist(), known) == (codes, values), name


def test_infinite_values_are_refused():
    with pytest.raises(ParameterError, match="'v' has 1 infinite value"):
        rank(pool(v=[0.5, np.inf, np.nan]), "column")


def test_a_broken_table_of_the_user_is_not_to_be_deleted(tiles, tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"not a table")
    with pytest.raises(DataError, match="cannot read") as caught:
        add_attributes(tiles, tmp_path / "t.parquet")
    assert "Delete" not in str(caught.value)


def _csv(folder, text):
    (folder / "other.csv").write_text(text)
    return folder / "other.csv"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,v\na,1\n", "neither a column 'tile_id'"),
        ("scene,v\nd/a,1\nd/a,2\n", "2 rows for 'd/a'"),
        ("scene,v\nx,1\n", "no scene of the pool; its first scene is 'x'"),
        ("tile_id,v\n", "has no rows"),
        ("scene\nd/a\nd/b\n", "no column beside"),
        ("scene,v\nd/a,\nd/b,\n", r"no column besides 'scene' that can be used: v \(null\)"),
        ("", "cannot read the table"),
        ("scene,v,v\nd/a,1,2\n", "2 columns named 'v'"),
        ("scene;v\nd/a;1,5\n", "separated by semicolons"),
        ("scene\tv\nd/a\t1\n", "separated by tabs"),
    ],
)
def test_a_table_of_something_else_is_refused(tiles, tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        add_attributes(tiles, _csv(tmp_path, text))


def test_a_run_with_a_table(tmp_path):
    draw = np.random.default_rng(0)
    for name in "ab":
        write_cog(tmp_path / f"images/{name}.tif", draw.integers(0, 9, (1, 32, 32), np.uint8))
    (tmp_path / "t.csv").write_text("scene,loss,minutes\na,0.5,10\nb,0.75,1\n")
    given = {
        "images": [str(tmp_path / "images")], "tile": 16, "methods": ["column"],
        "attributes": [str(tmp_path / "t.csv")], "options": {"column": {"name": "loss"}},
    }  # fmt: skip
    job = CurateJob(**given, budget="minutes=25")
    assert job.run(tmp_path / "run").worked
    assert not job.run(tmp_path / "run").worked
    found = pq.read_table(tmp_path / "run/selection/column.parquet")
    assert [name[0] for name in found["tile_id"].to_pylist()] == ["b"] * 4 + ["a"] * 2
    assert found["cost_minutes"].to_pylist() == [1.0] * 4 + [10.0] * 2
    summary = Run.load(tmp_path / "run").record["summary"]
    assert summary["methods"]["column"]["spent"]["minutes"] == 24
    assert json.dumps(summary["pool"]["attributes"]) == '["loss", "minutes"]'
    # Another value is noticed, and so is a column that is gone.
    (tmp_path / "t.csv").write_text("scene,loss,minutes\na,0.5,10\nb,0.25,1\n")
    assert job.run(tmp_path / "run").worked
    found = pq.read_table(tmp_path / "run/selection/column.parquet")
    assert [name[0] for name in found["tile_id"].to_pylist()] == ["a"] * 2
    with pytest.raises(ParameterError, match="needs attributes"):
        CurateJob(**{**given, "attributes": []}).check()
