"""The linear judge: it learns what can be learnt, counts all pixels, and depends on its seed."""

import numpy as np
import pytest

from foveate.bench.curate.design import Fold
from foveate.bench.curate.probe import Cells, ProbeJudge, reduced
from foveate.errors import DataError
from foveate.stats import mean_iou


@pytest.fixture
def cells():
    """40 tiles of 9 cells with features that tell 3 classes, of which the last is rare."""
    draw = np.random.default_rng(0)
    labels = draw.choice(3, (40, 9), p=[0.6, 0.35, 0.05])
    x = np.eye(3)[labels] + draw.normal(0, 0.4, (40, 9, 3))
    counts = np.eye(3, dtype=np.int64)[labels] * 64
    return Cells(x.astype(np.float32), counts, counts)


FOLD = Fold("all", np.arange(30), np.arange(30, 40))
CLUSTER = np.array([f"g{i % 4}" for i in range(40)])


def test_it_tells_the_classes_and_counts_every_pixel(cells):
    found = ProbeJudge(cells, FOLD, CLUSTER).judge(FOLD.train, "none", 0).matrices
    total = sum(found.values())
    assert set(found) == {"g0", "g1", "g2", "g3"}
    assert total.sum() == cells.once[FOLD.test].sum()
    np.testing.assert_array_equal(total.sum(axis=1), cells.once[FOLD.test].sum(axis=(0, 1)))
    assert mean_iou(total) > 0.5


def test_a_balanced_sampler_finds_more_of_a_rare_class(cells):
    judge = ProbeJudge(cells, FOLD, CLUSTER)
    hits = {
        name: sum(judge.judge(FOLD.train, name, 0).matrices.values())[2, 2]
        for name in ("none", "balanced")
    }
    assert hits["balanced"] >= hits["none"]


def test_one_seed_one_result(cells):
    judge = ProbeJudge(cells, FOLD, CLUSTER)
    first, again = (judge.judge(FOLD.train[:5], "none", 0).matrices for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)
    drawn = [judge._drawn(FOLD.train[:5], "none", seed)[0] for seed in (0, 1)]
    assert (drawn[0] != drawn[1]).any()


def test_a_set_of_one_class_predicts_it(cells):
    counts = np.zeros_like(cells.counts)
    counts[..., 1] = 64
    judge = ProbeJudge(Cells(cells.x, counts, cells.once), FOLD, CLUSTER)
    total = sum(judge.judge(FOLD.train, "none", 0).matrices.values())
    assert total[:, [0, 2]].sum() == 0


def test_a_set_without_labels_raises(cells):
    judge = ProbeJudge(Cells(cells.x, cells.counts * 0, cells.once), FOLD, CLUSTER)
    with pytest.raises(DataError, match="no labelled pixel"):
        judge.judge(FOLD.train, "none", 0)


def test_components_are_fitted_to_the_training_tiles_alone(cells, tmp_path):
    reduced(cells.x, FOLD, tmp_path / "a.npy")
    changed = cells.x.copy()
    changed[FOLD.test] *= 50
    reduced(changed, FOLD, tmp_path / "b.npy")
    a, b = (np.load(tmp_path / name) for name in ("a.npy", "b.npy"))
    np.testing.assert_array_equal(a[FOLD.train], b[FOLD.train])
    spread = a[FOLD.train].astype(np.float64).reshape(-1, 3)
    np.testing.assert_allclose(spread.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(spread.std(axis=0), 1, atol=0.02)
