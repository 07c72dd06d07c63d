"""An archive that grows: old shards stay, and the ranking says what has moved."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
from trees import digest_tree

from foveate.curate import CurateJob
from foveate.raster import write_cog

PER_SCENE = 16


def scene(folder, name, dtype=np.uint8):
    pixels = np.random.default_rng(ord(name)).integers(0, 200, (3, 64, 64)).astype(dtype)
    write_cog(folder / f"{name}.tif", pixels)


def curate(folder, out, **given):
    job = CurateJob(images=[str(folder)], tile=16, methods=["kcenter"], **{"budget": "10", **given})
    return job.run(out)


def shards(out):
    return {n: d for n, d in digest_tree(out / "embeddings").items() if n.endswith(".parquet")}


def picks(out):
    return set(pq.read_table(out / "selection/kcenter.parquet")["tile_id"].to_pylist())


def changes(out):
    rows = pq.read_table(out / "tables/changes.parquet").to_pylist()
    return {(row["change"], row["method"], row["tile_id"]) for row in rows}


def test_new_scenes_leave_old_shards_and_are_told(tmp_path):
    images, out = tmp_path / "images", tmp_path / "run"
    for name in "ac":
        scene(images, name)
    assert "changes" not in curate(images, out).record["summary"]
    old, was = shards(out), picks(out)
    scene(images, "b")
    run = curate(images, out)
    assert {n: d for n, d in shards(out).items() if n in old} == old
    found, now = changes(out), picks(out)
    assert {one for change, _, one in found if change == "added"} == {
        one for one in pq.read_table(out / "tiles.parquet")["tile_id"].to_pylist() if one[0] == "b"
    }
    assert {one for change, _, one in found if change == "into the budget"} == now - was
    assert {one for change, _, one in found if change == "out of the budget"} == was - now
    summary = run.record["summary"]["changes"]
    assert (summary["added"], summary["gone"]) == (PER_SCENE, 0)
    assert summary["methods"]["kcenter"] == {"in": len(now - was), "out": len(was - now)}
    assert not curate(images, out).worked
    whole = curate(images, tmp_path / "whole")
    assert picks(whole.path) == now


def test_scenes_that_went_are_told_and_another_budget_is_no_change_of_the_pool(tmp_path):
    images, out = tmp_path / "images", tmp_path / "run"
    for name in "abc":
        scene(images, name)
    curate(images, out)
    (images / "b.tif").unlink()
    run = curate(images, out)
    assert run.record["summary"]["changes"]["gone"] == PER_SCENE
    assert "changes" not in curate(images, out, budget="5").record["summary"]
    assert not (out / "tables/changes.parquet").exists()


def test_the_range_of_values_stays_while_an_archive_grows(tmp_path):
    images, out = tmp_path / "images", tmp_path / "run"
    for name in "ac":
        scene(images, name, np.uint16)
    first = curate(images, out).record["summary"]["model"]["scale"]
    old = shards(out)
    scene(images, "z", np.uint16)
    assert curate(images, out).record["summary"]["model"]["scale"] == first
    assert old.items() <= shards(out).items()
    for name in "ac":
        (images / f"{name}.tif").unlink()
    assert curate(images, out).record["summary"]["model"]["scale"] != first
