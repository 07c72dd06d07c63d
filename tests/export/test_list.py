"""A list is read back by `curate --coordinates` and by `compare`, in its order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foveate.curate import CompareJob, CurateJob
from foveate.errors import DataError, ParameterError
from foveate.export import export_run
from foveate.files import write_json, write_parquet
from foveate.pool import read_coordinates
from foveate.raster import write_cog


def write_run(path, scenes, score, methods=("fa",), **more):
    n = len(scenes)
    table = {"rank": list(range(1, n + 1)), "tile_id": [f"{s}/{i}" for i, s in enumerate(scenes)],
             "scene": scenes, "y": [0] * n, "x": [10 * i for i in range(n)], "h": [10] * n,
             "w": [10] * n, "score": score, **more}  # fmt: skip
    for name in methods:
        kept = {k: v for k, v in table.items() if v is not None}
        write_parquet(path / f"selection/{name}.parquet", pa.table(kept))
    write_json(path / "run.json", {"schema": 1, "steps": {}, "summary": {}})
    return path


def exported(run, path, **given):
    return export_run(run, "list", path, **given)[0]


@pytest.mark.parametrize("folder", ["", "city/north/"])
@pytest.mark.parametrize("method", ["fa-cb", "random"])
def test_round_trip(method, folder, tmp_path):
    draw = np.random.default_rng(0)
    for i in range(2):
        write_cog(
            tmp_path / f"images/{folder}s{i}.tif", draw.integers(0, 99, (3, 64, 64), np.uint8)
        )
        write_cog(tmp_path / f"masks/{folder}s{i}.tif", draw.integers(0, 3, (1, 64, 64), np.uint8))
    common = {"images": [str(tmp_path / "images")], "masks": [str(tmp_path / "masks")], "tile": 16}
    CurateJob(**common, methods=[method], budget="40%").run(tmp_path / "run")
    path = exported(tmp_path / "run", tmp_path / "list.txt")
    chosen = pq.read_table(tmp_path / f"run/selection/{method}.parquet").sort_by("rank")
    read = read_coordinates(path, 16)
    assert read.tiles.y.tolist() == chosen["y"].to_pylist()
    assert read.tiles.x.tolist() == chosen["x"].to_pylist()
    assert np.all(np.diff(read.score) <= 0)
    again = CurateJob(**common, methods=["random"], budget="1", coordinates=str(path))
    again.run(tmp_path / "again")
    tiles = pq.read_table(tmp_path / "again/tiles.parquet")
    assert sorted(tiles["tile_id"].to_pylist()) == sorted(chosen["tile_id"].to_pylist())
    both = CompareJob(rankings=[str(tmp_path / "run"), str(path)]).run(tmp_path / "both")
    assert both.record["summary"]["compare"]["patches"] == len(chosen)
    assert both.record["summary"]["compare"]["kendall"][method]["list"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("score", "written"),
    [([0.9, 0.5, 0.5], [0.9, 0.5, 0.5]), ([0.9, 0.2, 0.5], [1, 2 / 3, 1 / 3]),
     ([0.9, 0.2, float("nan")], [1, 2 / 3, 1 / 3]), (None, [1, 2 / 3, 1 / 3])],
)  # fmt: skip
def test_scores_that_do_not_fall_are_places(score, written, tmp_path):
    path = exported(write_run(tmp_path / "run", ["a", "c/d", "a"], score), tmp_path / "x.txt")
    found = read_coordinates(path)
    assert found.score == pytest.approx(written)
    assert found.tiles.scene.tolist() == ["a", "c/d", "a"]
    assert found.tiles.x.tolist() == [0, 10, 20]
    assert [len(line.split()) for line in path.read_text().splitlines()] == [6, 5, 6]


def test_plain_arrays_are_ids(tmp_path):
    run = write_run(tmp_path / "run", ["b", "a"], None, scene=None, y=None, x=None)
    assert exported(run, tmp_path / "x.txt").read_text() == "b/0\na/1\n"


def test_what_a_list_cannot_hold(tmp_path):
    several = write_run(tmp_path / "two", ["a"], None, methods=("fa", "lc"))
    with pytest.raises(ParameterError, match=r"a single ranking.*--method fa"):
        exported(several, tmp_path / "x.txt")
    assert exported(several, tmp_path / "x.txt", methods=["lc"])
    with pytest.raises(DataError, match="'a b' has a blank"):
        exported(write_run(tmp_path / "blank", ["a b"], None), tmp_path / "y.txt")
    with pytest.raises(DataError, match=r"10 x 10 and 20 x 20 pixels.*--to csv"):
        exported(write_run(tmp_path / "sizes", ["a", "a"], None, h=[10, 20], w=[10, 20]),
                 tmp_path / "y.txt")  # fmt: skip
    with pytest.raises(ParameterError, match=r"does not end in \.txt"):
        exported(several, tmp_path / "x.csv", methods=["lc"])
    assert not (tmp_path / "y.txt").exists()
