"""Two models on LR, one learnt from labels and one from the HR model."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from foveate.errors import DataError
from foveate.observe.data.concepts import Concept
from foveate.observe.networks.heads import LabelHead
from foveate.observe.networks.sizes import Shape
from foveate.observe.scoring.policies import apply_policy

torch = pytest.importorskip("torch")
distil = pytest.importorskip("foveate.bench.observe.baselines")
materials = pytest.importorskip("foveate.observe.training.dataset")
tasks = pytest.importorskip("foveate.observe.networks.tasks")

SHAPE = Shape(3, 2, 1, 1, 1, 8, 1, 2, sampler=8, ensemble=1)
NAMES = ("plain", "fine")


def material(scenes=30, rows=4, cols=5, seed=0):
    """Scenes with two concepts; labels miss "fine" on ground of one kind, HR does not.

    LR tokens: what tells both concepts, the kind of ground, and noise.
    """
    random = np.random.default_rng(seed)
    lr = random.normal(size=(scenes, rows, cols, 3)).astype(np.float32)
    hr = (2 * lr[..., :2] + 0.1 * random.normal(size=(scenes, rows, cols, 2))).astype(np.float32)
    kind = lr[..., 1] > 0.5
    seen = lr[..., 0] > 0
    known = np.stack([seen, seen & ~kind], axis=-1)
    place = np.argwhere(np.ones((scenes, rows, cols), bool))
    data = tasks.Data(
        torch.from_numpy(lr), torch.from_numpy(hr), torch.from_numpy(hr),
        np.ones((scenes, rows, cols), bool),
    )  # fmt: skip
    says = np.array([[4, 0], [4, 0]], np.float32)  # both, wherever there is something
    found = SimpleNamespace(
        data=data, shape=SHAPE, known=known.reshape(-1, 2), concepts=(),
        labels=LabelHead(NAMES, says, np.zeros(2, np.float32)),
        pairs=SimpleNamespace(place=place),
        scenes=lambda split: np.arange(scenes),
        tiles=lambda numbers: np.flatnonzero(np.isin(place[:, 0], numbers)),
        means=lambda at: hr.reshape(-1, 2)[at],
    )  # fmt: skip
    found.places = partial(materials.TrainingData.places, found)
    return found, kind, seen


def test_disagreement_is_where_labels_and_hr_differ():
    given, kind, seen = material()
    found = distil.distil(given)
    place = given.pairs.place
    told = found(given.data.lr.numpy(), place)
    assert found.names == NAMES
    assert told["student"].shape == told["teacher"].shape == (len(place), 2)
    apart = np.abs(told["student"] - told["teacher"])
    planted = (kind & seen).ravel()
    assert apart[planted, 1].mean() > 3 * apart[~planted, 1].mean()
    assert apart[:, 0].mean() < 0.1
    taught = given.labels.probabilities(given.means(np.arange(len(place))))
    assert np.corrcoef(told["student"][:, 1], taught[:, 1])[0, 1] > 0.95
    ids = [f"t{i:04d}" for i in range(len(place))]
    ranking = apply_policy(ids, "sar", told, needs_hr=[False, True])
    best = ranking.rows[: int(planted.sum())]
    assert planted[best].mean() > 0.75
    nothing = apply_policy(ids, "sar", told, needs_hr=[True, False])
    assert planted[nothing.rows[: int(planted.sum())]].mean() < 0.6


def test_scenes_can_be_told_apart_from_training():
    given, _, _ = material()
    found = distil.distil(given)
    other, _, _ = material(3, seed=1)
    some = other.pairs.place[[7, 2, 40]]
    lr = other.data.lr.numpy()
    alone, all_ = found(lr, some), found(lr, other.pairs.place)
    for name in ("student", "teacher"):
        np.testing.assert_allclose(alone[name], all_[name][[7, 2, 40]], atol=1e-5)


def test_a_student_meets_probabilities():
    random = np.random.default_rng(0)
    x = random.normal(size=(4000, 3)).astype(np.float32)
    p = np.stack([1 / (1 + np.exp(-(x[:, 0] - 1))), np.full(4000, 0.2)], axis=1)
    head = distil.fit_soft(x, p, NAMES)
    assert np.abs(head.probabilities(x) - p).max() < 0.02


def test_without_labels_there_is_no_model():
    given, _, _ = material(2)
    given.labels = None
    with pytest.raises(DataError, match="without labels"):
        distil.distil(given)


def test_which_concepts_need_hr():
    concepts = [Concept("forest", min_gsd=20), Concept("boat", min_gsd=0.5), Concept("road")]
    assert distil.needs_hr(concepts, 10.0).tolist() == [False, True, True]
    assert distil.needs_hr(concepts, 0.5).tolist() == [False, False, True]
    assert distil.needs_hr(concepts, None).tolist() == [True, True, True]
    asked = distil.needs_hr(concepts, 10.0, lambda concept: concept.name == "road")
    assert asked.tolist() == [False, False, True]
    assert asked.dtype == bool
