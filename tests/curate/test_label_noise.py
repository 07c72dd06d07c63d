"""Wrong labels are found, on arrays and in a run."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noisy_world import noisy_world
from scipy.stats import kendalltau

from foveate.curate import CurateJob, rank
from foveate.curate.methods import label_noise
from foveate.errors import DataError, ParameterError
from foveate.export import export_run
from foveate.pool import Pool
from foveate.report import write_report
from foveate.run import Run
from foveate.world import CLASSES, WorldSpec, flip_labels, make_scene


def ranked(noisy, **options):
    return rank(noisy.pool, "label-noise", tokens=noisy.tokens, cells=noisy.cells, **options)


def by_row(found):
    score = np.empty(found.n)
    score[found.rows] = found.score
    return score


@pytest.fixture(scope="module")
def noisy():
    return noisy_world("pixels", scenes=12, size=256, seed=3)


@pytest.mark.parametrize("kind", ["pixels", pytest.param("blobs", marks=pytest.mark.slow)])
def test_scores_follow_the_share_of_wrong_labels(kind, noisy):
    given = noisy if kind == "pixels" else noisy_world(kind, scenes=12, size=256, seed=3)
    score = by_row(ranked(given))
    assert kendalltau(score, given.share)[0] >= 0.6
    assert ((score >= 0) & (score <= 1)).all()
    assert np.abs(score - given.share).mean() < 0.12


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", ["pixels", "blobs"])
def test_scores_follow_the_share_on_a_larger_world(kind, seed):
    given = noisy_world(kind, scenes=14, size=512, seed=seed)
    assert kendalltau(by_row(ranked(given, seed=seed)), given.share)[0] >= 0.6


def test_clean_order_is_the_reverse(noisy):
    worst, best = ranked(noisy), ranked(noisy, order="clean")
    np.testing.assert_allclose(by_row(best), 1 - by_row(worst))
    assert best.rows[0] == np.argmin(by_row(worst))
    assert best.meta["wrong_share"] == worst.meta["wrong_share"]
    assert worst.meta["wrong_share"] == pytest.approx(np.average(by_row(worst)), abs=1e-9)
    assert (worst.meta["folds_of"], worst.meta["judged"]) == ("strips", len(noisy.pool))


def test_labels_without_errors_have_few(noisy):
    clean = noisy_world("pixels", scenes=12, size=256, seed=3, most=0.0)
    assert ranked(clean).meta["wrong_share"] < 0.5 * ranked(noisy).meta["wrong_share"]


def test_blocks_and_memory_maps_change_nothing(noisy, tmp_path, monkeypatch):
    whole = by_row(ranked(noisy, rounds=2))
    for name in ("tokens", "cells"):
        np.save(tmp_path / f"{name}.npy", getattr(noisy, name))
    maps = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("tokens", "cells")]
    monkeypatch.setattr(label_noise, "_BLOCK", 40_000)
    found = rank(noisy.pool, "label-noise", tokens=maps[0], cells=maps[1], rounds=2)
    # Blocks of another size add up in another order, and the probe magnifies it.
    np.testing.assert_allclose(by_row(found), whole, atol=1e-4)


def test_patches_without_verdict_are_last():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 4, 3)).astype(np.float16)
    cells = np.zeros((40, 4, 3), int)
    cells[..., 0] = 9
    cells[::2, :, 1] = 5
    cells[4] = 0  # no label
    cells[7] = [0, 0, 8]  # a class that one patch has
    ids = [f"s{i // 4}/t{i:02d}" for i in range(40)]
    found = rank(Pool.from_arrays(ids=ids), "label-noise", tokens=x, cells=cells)
    assert sorted(found.rows[-2:].tolist()) == [4, 7]
    assert np.isnan(found.score[-2:]).all()
    assert np.isfinite(found.score[:-2]).all()
    assert found.meta["judged"] == 38
    alone = rank(Pool.from_arrays(n=1), "label-noise", tokens=x[:1], cells=cells[:1])
    assert math.isnan(alone.score[0])
    assert alone.meta["wrong_share"] is None


def test_folds_are_of_scenes_or_strips():
    ids = np.array([f"s{i // 5:02d}/t{i:03d}" for i in range(100)])
    pixels = np.arange(100) + 1
    fold, by = label_noise.divide(ids, pixels, 5, 0)
    assert by == "scenes"
    assert all(np.unique(fold[i : i + 5]).size == 1 for i in range(0, 100, 5))
    share = np.bincount(fold, pixels) / pixels.sum()
    assert share.size == 5
    assert share.max() < 0.35
    assert (label_noise.divide(ids, pixels, 5, 1)[0] != fold).any()
    strips, by = label_noise.divide(ids[:90], pixels[:90], 5, 0)
    assert by == "strips"
    assert np.unique(strips).size == 5
    assert np.flatnonzero(np.diff(strips)).size < 20


@pytest.mark.parametrize("options", [{"order": "worst"}, {"folds": 1}, {"rounds": -1}])
def test_impossible_options_are_refused(noisy, options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        ranked(noisy, **options)


def test_missing_or_mismatched_input_raises_with_hint():
    pool, x = Pool.from_arrays(n=3), np.zeros((3, 4, 2), np.float16)
    cells = np.ones((3, 4, 2), int)
    for given, said in [
        ({}, "needs tokens"),
        ({"tokens": x}, "needs cells"),
        ({"tokens": x[:, 0], "cells": cells}, "tokens of shape"),
        ({"tokens": x[:2], "cells": cells}, "for 3 tiles"),
        ({"tokens": x, "cells": cells[:, :3]}, "Expected whole numbers .3, 4, C."),
        ({"tokens": x, "cells": cells / 2}, "dtype float64"),
        ({"tokens": x, "cells": -cells}, "negative"),
        ({"tokens": np.where(cells, np.nan, 0.0), "cells": cells}, "'0000000' contain NaN"),
    ]:
        with pytest.raises(DataError, match=said):
            rank(pool, "label-noise", **given)


# --- a run -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Five scenes of 16 patches; in one patch each most labels are flipped."""
    from foveate.raster import write_cog

    root, draw = tmp_path_factory.mktemp("noisy"), np.random.default_rng(0)
    spec = WorldSpec(scenes=5, size=256, bands=3, seed=2, cloud=0.0, nodata_border=False)
    for index in range(5):
        scene = make_scene(spec, index)
        labels = scene.labels.copy()
        part = np.s_[64:128, 64:128]
        labels[part] = flip_labels(labels[part], 0.9, range(10), draw)
        write_cog(root / f"images/{scene.scene_id}.tif", scene.image, geobox=scene.geobox)
        write_cog(root / f"masks/{scene.scene_id}.tif", labels[None], geobox=scene.geobox)
    (root / "classes.yaml").write_text(
        json.dumps({"classes": {name: i for i, name in enumerate(CLASSES)}})
    )
    return root


def job(world, *methods, **given):
    return CurateJob(
        images=[str(world / "images")], masks=[str(world / "masks")],
        classes=str(world / "classes.yaml"), tile=64, methods=list(methods), budget="5", **given,
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    assert job(world, "label-noise").run(out, report=write_report).worked
    return out


def test_run_finds_label_errors_once_and_exports_them(world, done, tmp_path):
    chosen = pq.read_table(done / "selection/label-noise.parquet")["tile_id"].to_pylist()
    assert sum("y000064_x000064" in name for name in chosen) >= 4
    assert not job(world, "label-noise").run(done, report=write_report).worked
    export_run(done, "csv", tmp_path / "worst.csv")
    assert len((tmp_path / "worst.csv").read_text().splitlines()) == 6
    record = Run.load(done).record
    assert record["summary"]["model"]["name"] == "cells"
    assert not any(name.startswith("embed ") for name in record["steps"])


def test_another_method_repeats_nothing_and_other_options_only_the_ranking(world, done):
    before = Run.load(done).record["steps"]
    job(world, "label-noise", options={"label-noise": {"order": "clean"}}).run(done)
    after = Run.load(done).record["steps"]
    assert after["tokens cells"] == before["tokens cells"]
    assert after["labels of cells"] == before["labels of cells"]
    assert after["rank label-noise"] != before["rank label-noise"]
    job(world, "label-noise").run(done, report=write_report)


def test_the_page_says_what_was_found_and_what_that_is_worth(done):
    page = (done / "report.html").read_text()
    assert "of the labelled pixels carry a wrong label" in page
    assert "an expected label may be wrong" in page
    assert "The worst patch has" in page


def test_scores_are_a_column_of_the_next_run(world, done, tmp_path):
    scores = done / "rankings/label-noise.parquet"
    job(
        world, "column", attributes=[str(scores)], options={"column": {"name": "score"}},
    ).run(tmp_path / "next")  # fmt: skip
    both = [
        pq.read_table(path)["tile_id"].to_pylist()
        for path in (
            done / "selection/label-noise.parquet", tmp_path / "next/selection/column.parquet",
        )
    ]  # fmt: skip
    assert both[0] == both[1]


def test_a_job_without_masks_or_imagery_is_refused(world, tmp_path):
    with pytest.raises(ParameterError, match=r"label-noise needs masks.*--masks"):
        CurateJob(images=[str(world / "images")], methods=["label-noise"]).check()
    table = pa.table({"id": ["a", "b"], "embedding": [[1.0, 2.0], [2.0, 1.0]]})
    pq.write_table(table, tmp_path / "v.parquet")
    with pytest.raises(ParameterError, match="label-noise on an embedding file"):
        CurateJob(images=[str(tmp_path / "v.parquet")], methods=["label-noise"]).check()
