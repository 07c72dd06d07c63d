"""A catalogue through the commands: the same tiles as of its files, and what items alone know."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from command import here
from stac_files import pixels, write_catalogue, write_item, write_list

from foveate.raster import FileSource


@pytest.fixture
def catalogue(tmp_path):
    (tmp_path / "c").mkdir()
    return write_catalogue(tmp_path / "c", 3, cloud=5)[0]


def curate(catalogue, out, *more):
    return here(
        "curate", catalogue, "--assets", "red,nir", "--tile", 32, "--method", "kcenter",
        "--budget", "4", "--out", out, "--json", *more,
    )  # fmt: skip


def test_a_run_of_a_catalogue(catalogue, tmp_path):
    answer = curate(catalogue, tmp_path / "run", "--quota", "platform=3", "--groups", "datetime")
    assert "1 of the 4 picks break a rule" in answer.err  # there are three dates
    answer = curate(catalogue, tmp_path / "run", "--quota", "platform=3")
    assert answer.status == 0, answer.err
    known = pq.read_table(tmp_path / "run/tables/attributes.parquet")
    assert {"datetime", "eo:cloud_cover", "platform", "bad"} <= set(known.column_names)
    excluded = json.loads((tmp_path / "run/tables/excluded.json").read_text())
    assert len(excluded) == 3  # a quarter of each scene is cloud by its SCL
    scenes = pq.read_table(tmp_path / "run/scenes.parquet").to_pylist()
    assert scenes[0]["assets"] == ["red", "nir"]
    assert scenes[0]["item"].endswith("S0/item.json")
    before = (tmp_path / "run/selection/kcenter.parquet").stat().st_mtime_ns
    assert curate(catalogue, tmp_path / "run", "--quota", "platform=3").status == 0
    assert (tmp_path / "run/selection/kcenter.parquet").stat().st_mtime_ns == before


def test_a_method_ranks_by_a_property_of_the_items(catalogue, tmp_path):
    given = ("--quality", "none", "--method", "column", "--option")
    assert curate(catalogue, tmp_path / "run", *given, "column.name=eo:cloud_cover").status == 0
    ranked = pq.read_table(tmp_path / "run/rankings/column.parquet")["score"].to_numpy()
    assert (ranked == 5).all()
    answer = curate(catalogue, tmp_path / "other", *given, "column.name=cloudiness")
    assert "no column 'cloudiness'" in json.loads(answer.out)["message"]


def test_clouds_can_be_left_alone(catalogue, tmp_path):
    assert curate(catalogue, tmp_path / "run", "--quality", "none").status == 0
    known = pq.read_table(tmp_path / "run/tables/attributes.parquet")
    assert known.num_rows == 12
    assert "bad" not in known.column_names
    assert curate(catalogue, tmp_path / "other", "--quality", "scl", "--max-bad", "1").status == 0
    assert pq.read_table(tmp_path / "other/tables/attributes.parquet").num_rows == 12


def test_a_changed_property_makes_another_pool(tmp_path):
    items = [write_item(tmp_path, i, cloud=5) for i in range(2)]
    path = write_list(tmp_path, items)
    assert curate(path, tmp_path / "run").status == 0
    items[0]["properties"]["eo:cloud_cover"] = 7
    write_list(tmp_path, items)
    assert curate(path, tmp_path / "run").status == 0
    known = pq.read_table(tmp_path / "run/tables/attributes.parquet")
    assert set(known["eo:cloud_cover"].to_pylist()) == {5, 7}


def test_chips_are_cut_from_the_assets(catalogue, tmp_path):
    assert curate(catalogue, tmp_path / "run").status == 0
    answer = here("export", tmp_path / "run", "--to", "chips", "--out", tmp_path / "chips")
    assert answer.status == 0, answer.err
    manifest = pq.read_table(tmp_path / "chips/manifest.parquet").to_pylist()
    one = manifest[0]
    i, y, x = int(one["scene"][1]), one["y"], one["x"]
    chip = FileSource(str(tmp_path / "chips" / one["image"])).read().data
    assert (chip[0] == pixels(i, "red")[0, y : y + 32, x : x + 32]).all()
    assert (chip[1] == pixels(i, "nir")[0, y : y + 32, x : x + 32]).all()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--datetime", "2024-09/2024-05"), "ends before it begins"),
        (("--bbox", "14,52,13,53"), "--bbox 13,52,14,53"),
        (("--bbox", "14,52,13"), "3 numbers"),
        (("--max-cloud", "101"), "--max-cloud 101"),
        (("--datetime", "1999"), "3 by --datetime"),
        (("--stack", "red"), "--assets red"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(catalogue, tmp_path, more, says):
    answer = curate(catalogue, tmp_path / "run", *more)
    assert answer.status == 1
    assert says in json.loads(answer.out)["message"]
    assert "Traceback" not in answer.err
    assert not (tmp_path / "run/selection").exists()


def test_other_commands_read_it_too(catalogue, tmp_path):
    out = tmp_path / "vectors"
    answer = here("embed", catalogue, "--assets", "red,nir", "--tile", 32, "--out", out)
    assert answer.status == 0, answer.err
    answer = here("inspect", catalogue, "--assets", "red,nir", "--json")
    content = json.loads(answer.out)
    assert [one["date"] for one in content["scenes"]] == ["2024-05-01", "2024-06-01", "2024-07-01"]
