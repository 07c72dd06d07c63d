"""Comparing runs and lists: from their files to tables and a page."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from ranked_runs import JPEG, write_run

from foveate.curate import CompareJob
from foveate.curate.compare_job import top_sizes
from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.report import headlines, write_report


def write_list(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


UP, DOWN = list(range(8)), list(range(8))[::-1]


def compare(out, *inputs, **given):
    return CompareJob(rankings=list(inputs), **given).run(out).record["summary"]["compare"]


def test_runs(tmp_path):
    one = write_run(tmp_path / "one", {"lc": UP, "fa": DOWN}, thumbs=[0, 7])
    two = write_run(tmp_path / "two", {"cb": [1, 0, *range(2, 8)]})
    found = compare(tmp_path / "out", one, two, top=["25%", "4"])
    assert [r["name"] for r in found["rankings"]] == ["lc", "fa", "cb"]
    assert found["kendall"]["lc"] == {"fa": pytest.approx(-1.0), "cb": pytest.approx(26 / 28)}
    assert found["top"] == [{"top": "25%", "k": 2, "agreed": 0}, {"top": "4", "k": 4, "agreed": 0}]
    patches = pq.read_table(tmp_path / "out/tables/patches.parquet")
    assert patches.column_names == ["place", "patch", "scene", "y", "x", "h", "w", "rank:lc",
                                    "rank:fa", "rank:cb", "average", "spread"]  # fmt: skip
    first = patches.slice(0, 1).to_pylist()[0]
    assert first["patch"] == "a/y000000_x000010_10x10"
    assert (first["scene"], first["x"]) == ("a", 10)
    assert (first["rank:lc"], first["rank:fa"], first["rank:cb"]) == (2, 7, 1)
    assert first["average"] == pytest.approx(10 / 3)
    for name in ("kendall", "overlap", "patches", "agreed"):
        with (tmp_path / f"out/tables/{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(pq.read_table(tmp_path / f"out/tables/{name}.parquet"))
    thumbs = pq.read_table(tmp_path / "out/tables/thumbs.parquet").to_pylist()
    assert [t["name"] for t in thumbs] == ["a/y000000_x000000_10x10", "b/y000000_x000030_10x10"]
    assert (tmp_path / "out" / thumbs[0]["file"]).read_bytes() == JPEG


def test_one_run_is_compared_with_itself_method_by_method_and_another_by_its_name(tmp_path):
    one = write_run(tmp_path / "one", {"lc": UP, "fa": DOWN})
    two = write_run(tmp_path / "two", {"lc": DOWN, "fa": UP})
    names = [r["name"] for r in compare(tmp_path / "a", one)["rankings"]]
    assert names == ["lc", "fa"]
    names = [r["name"] for r in compare(tmp_path / "b", one, two, methods=["lc"])["rankings"]]
    assert names == ["one/lc", "two/lc"]
    with pytest.raises(UnknownNameError, match=r"no run has the method 'cb'.*lc, fa"):
        compare(tmp_path / "c", one, two, methods=["cb"])
    with pytest.raises(DataError, match="given twice"):
        compare(tmp_path / "c", one, one)
    assert not (tmp_path / "c").exists()


def test_folders_of_one_name_are_told_apart(tmp_path):
    one = write_run(tmp_path / "x/run", {"lc": UP})
    two = write_run(tmp_path / "y/run", {"lc": DOWN})
    names = [r["name"] for r in compare(tmp_path / "out", one, two)["rankings"]]
    assert names == ["x/run/lc", "y/run/lc"]


def test_other_pools_and_rankings_that_stop(tmp_path):
    one = write_run(tmp_path / "one", {"lc": UP, "kcenter": [3, 1, 0]})
    two = write_run(tmp_path / "two", {"fa": [0, 1, 2]}, scenes=("a",), per_scene=3)
    found = compare(tmp_path / "out", one, two, top=["2"])
    assert found["patches"] == 3
    assert found["rankings"] == [
        {"name": "lc", "ranked": 3, "full": True, "left_out": 5},
        {"name": "kcenter", "ranked": 2, "full": False, "left_out": 5},
        {"name": "fa", "ranked": 3, "full": True, "left_out": 0},
    ]
    assert found["kendall"]["lc"]["kcenter"] is None
    assert found["top"] == [{"top": "2", "k": 2, "agreed": 2}]
    said = headlines(tmp_path / "out")[""]
    assert "5 patches of lc are not compared" in " ".join(said.notes)
    assert "kcenter ranks 2 of 3 patches" in " ".join(said.notes)
    write_report(tmp_path / "out")
    far = write_run(tmp_path / "far", {"cb": [0, 1]}, scenes=("z",), per_scene=2)
    with pytest.raises(DataError, match=r"no patch in common.*'z/y"):
        compare(tmp_path / "none", one, far)


def test_lists(tmp_path):
    """Score first: the lists of the paper's public code are not all in their own order."""
    lines = [f"i{i}.tif d m{i} {10 * i} 0 {s}" for i, s in enumerate((0.2, 0.9, 0.5))]
    a = write_list(tmp_path / "a.txt", lines)
    b = write_list(tmp_path / "b.csv", [lines[1], lines[2], lines[0]])
    same = write_list(tmp_path / "same.txt", [line.rsplit(" ", 1)[0] + " 1" for line in lines])
    found = compare(tmp_path / "out", a, b, same, top=["1"])
    assert [r["name"] for r in found["rankings"]] == ["a", "b", "same"]
    assert found["kendall"]["a"]["b"] == pytest.approx(1.0)
    assert found["kendall"]["a"]["same"] == pytest.approx(-1 / 3)
    assert "has the same score" in headlines(tmp_path / "out")[""].notes[-1]
    twice = write_list(tmp_path / "twice.txt", [lines[0], lines[0]])
    with pytest.raises(DataError, match=r"contains the patch 'i0\.tif/y000000_x000000' 2 times"):
        compare(tmp_path / "x", a, twice)
    with pytest.raises(DataError, match="line 1 of"):
        compare(tmp_path / "x", a, write_list(tmp_path / "no.txt", ["a,b"]))


def test_a_run_with_a_list(tmp_path):
    """By image and corner; the list's names may have other folders and a suffix."""
    run = write_run(tmp_path / "run", {"fa": UP})
    lines = [f"train {s}.tif 0 {10 * i} {1 - 0.1 * i - 0.5 * (s == 'b')}"
             for s in "ab" for i in range(4)]  # fmt: skip
    listed = write_list(tmp_path / "paper.txt", [*lines, "train z.tif 0 0 0"])
    found = compare(tmp_path / "out", run, listed)
    assert found["kendall"] == {"fa": {"paper": pytest.approx(1.0)},
                                "paper": {"fa": pytest.approx(1.0)}}  # fmt: skip
    assert [r["left_out"] for r in found["rankings"]] == [0, 1]


def test_bad_input(tmp_path):
    run = write_run(tmp_path / "run", {"fa": UP})
    with pytest.raises(DataError, match="does not exist"):
        compare(tmp_path / "x", run, str(tmp_path / "missing"))
    with pytest.raises(DataError, match="1 ranking to compare"):
        compare(tmp_path / "x", run)
    with pytest.raises(ParameterError, match="top=the first 'pixels=5'"):
        compare(tmp_path / "x", run, top=["pixels=5"])
    with pytest.raises(ParameterError, match="top="):
        compare(tmp_path / "x", run, top=["none"])
    with pytest.raises(ParameterError, match="patches=0"):
        compare(tmp_path / "x", run, patches=0)
    shutil.rmtree(tmp_path / "run/rankings")
    with pytest.raises(DataError, match="contains no ranking"):
        compare(tmp_path / "x", run)


def test_a_second_run_does_nothing(tmp_path):
    one = write_run(tmp_path / "one", {"lc": UP, "fa": DOWN}, thumbs=[0])
    job = CompareJob(rankings=[one])
    assert job.run(tmp_path / "out", report=write_report).worked
    before = (tmp_path / "out/report.html").read_bytes()
    assert not job.run(tmp_path / "out", report=write_report).worked
    assert (tmp_path / "out/report.html").read_bytes() == before


def test_tops_of_few_patches():
    assert top_sizes(["1%", "29%", "500", "5%"], 100) == [("1%", 1), ("5%", 5), ("29%", 29),
                                                        ("500", 100)]  # fmt: skip
    assert top_sizes(["1%", "10%", "25%"], 8) == [("10%", 1), ("25%", 2)]


@pytest.mark.realdata
def test_the_released_lists_have_the_taus_of_the_paper(realdata, tmp_path):
    names = {
        "LC": "ai4gg_vaihingen_complexity", "FD": "ai4gg_vaihingen_diversity",
        "LC/FD": "ai4gg_vaihingen_hybrid", "FA": "cardiff_vaihingen_train_coordinate_list_method1",
        "CB": "cardiff_vaihingen_train_coordinate_list_method2",
        "FA/CB": "cardiff_vaihingen_train_coordinate_list_hybrid",
    }  # fmt: skip
    files = [str(realdata / "released_lists" / f"{name}.txt") for name in names.values()]
    found = compare(tmp_path / "out", *files)
    assert found["patches"] == 1431
    expected = {("LC", "FD"): 0.02, ("LC", "LC/FD"): 0.29, ("FD", "LC/FD"): 0.73,
                ("FA", "FA/CB"): 0.17, ("CB", "FA/CB"): 0.78, ("FA", "CB"): -0.06,
                ("LC", "FA"): 0.24}  # fmt: skip
    for (a, b), tau in expected.items():
        assert round(found["kendall"][names[a]][names[b]], 2) == tau, (a, b)
    patches = pq.read_table(tmp_path / "out/tables/patches.parquet")
    assert np.all(np.diff(patches["average"].to_numpy()) >= 0)
    assert len(patches) == 1431
    write_report(tmp_path / "out")
