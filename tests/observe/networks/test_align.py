"""Alignment with texts (Eq. 9): what it is, what it learns, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from planted import material_of, stages_of

from foveate.errors import DataError
from foveate.models.fit import FitSettings, fit
from foveate.models.heads import TextHead
from foveate.observe.data.concepts import Concept
from foveate.observe.networks.heads import TextConcepts, ToText
from foveate.observe.networks.losses import alignment_loss
from foveate.observe.networks.predictor import Aligned
from foveate.observe.networks.tasks import PredictorTask

CPU = torch.device("cpu")
CONCEPTS = tuple(Concept(name, novel=name == "new") for name in ("a", "b", "c", "new"))


def material(scenes=24):
    """Scenes that show some of four concepts, each along an axis; texts lie elsewhere at first."""
    draw = np.random.default_rng(0)
    has = draw.random((scenes, 4)) < 0.5
    known = has[:, None, None] & (draw.random((scenes, 3, 3, 4)) < 0.7)
    hr = 2 * known + 0.3 * draw.normal(size=known.shape)
    turn = np.linalg.qr(draw.normal(size=(4, 4)))[0].astype(np.float32)
    texts = TextConcepts(
        TextHead(tuple(c.name for c in CONCEPTS), turn, 10.0, -10.0, "sigmoid"),
        ToText(np.eye(4, dtype=np.float32), np.zeros(4, np.float32)),
    )
    split = np.repeat(["train", "val", "test"], [scenes - 8, 4, 4])
    return material_of(hr, hr, known=known, concepts=CONCEPTS, texts=texts, split=split)


@pytest.fixture(scope="module")
def planted():
    return material()


def has_of(planted, scenes):
    known = planted.known.reshape(len(planted.split), 9, 4)[scenes]
    return known.any(axis=1)[:, :3]


def whole_scenes(net, planted, scenes):
    """Return (m, 3) logits of scenes of which everything is known, with all tiles observed."""
    data = planted.data.take(scenes)
    seen = torch.ones(data.valid.shape, dtype=torch.bool)
    with torch.no_grad():
        tokens = net.eval().predictor(data.lr, data.hr, seen, passthrough=True).tokens
        return net.logits(tokens, torch.ones(tokens.shape[:3]))


def test_pooling_leaves_out_tiles_that_are_not_there(planted):
    net = stages_of(planted).new_aligned()
    tokens = torch.randn(2, 3, 3, 4)
    weight = torch.ones(2, 3, 3)
    weight[:, 0] = 0
    changed = tokens.clone()
    changed[:, 0] = 9
    torch.testing.assert_close(net.logits(tokens, weight), net.logits(changed, weight))
    mean = net.way(tokens[:, 1:].mean((1, 2)))
    expected = 10 * torch.nn.functional.normalize(mean, dim=-1) @ net.texts.T - 10
    torch.testing.assert_close(net.logits(tokens, weight), expected)


def test_texts_are_learnt_and_found(planted):
    stages = stages_of(planted)
    fill, _ = stages.fill()
    net = stages.new_aligned()
    net.predictor.fill.load_state_dict(fill.state_dict())
    train, has = planted.scenes("train"), has_of(planted, planted.scenes("train"))
    match = torch.from_numpy(has)

    def state():
        logits = whole_scenes(net, planted, train)
        pairs = [  # scenes that have a concept stand above those that do not
            (logits[i, k] > logits[j, k]).item()
            for k in range(3)
            for i in np.flatnonzero(has[:, k])
            for j in np.flatnonzero(~has[:, k])
        ]
        return float(alignment_loss(logits, match)), np.mean(pairs)

    loss, found = state()
    val = planted.scenes("val")
    task = PredictorTask(
        net, planted.data.take(train), planted.data.take(val), CPU, has=(has, has_of(planted, val))
    )
    history = fit(task, FitSettings(epochs=30, batch_size=4, learning_rate=0.02))
    assert history.epochs[-1]["texts"] < history.epochs[0]["texts"]
    after, better = state()
    assert after < 0.75 * loss
    assert better > found + 0.25
    assert net.texts.tolist() == stages.new_aligned().texts.tolist()


def test_novel_concepts_and_those_nobody_saw_are_left_out(planted, monkeypatch):
    stages = stages_of(planted, epochs=1)
    assert len(stages.new_aligned().texts) == 3
    given = []
    monkeypatch.setattr(
        "foveate.observe.training.stages.PredictorTask",
        lambda *a, has, **k: given.append(has) or PredictorTask(*a, has=has, **k),
    )
    stages.aligned(stages.new_predictor(), stages.new_sampler())
    for split, has in zip(("train", "val"), given[0], strict=True):
        np.testing.assert_array_equal(has, has_of(planted, planted.scenes(split)))
    blind = planted.known.copy()
    blind[:, 0] = False
    only = stages_of(replace(planted, known=blind)).new_aligned()
    np.testing.assert_array_equal(only.texts.numpy(), planted.texts.directions[1:3])


def test_it_needs_texts_and_labels(planted):
    silent = stages_of(replace(planted, texts=None))
    with pytest.raises(DataError, match="--align siglip without texts"):
        silent.new_aligned()
    unknown = stages_of(replace(planted, known=None))
    with pytest.raises(DataError, match="without labels"):
        unknown.aligned(unknown.new_predictor(), unknown.new_sampler())


def test_without_a_match_it_is_a_predictor(planted):
    net = stages_of(planted).new_aligned()
    assert isinstance(net, Aligned)
    task = PredictorTask(net, planted.data, planted.data, CPU)
    plain = PredictorTask(net.predictor, planted.data, planted.data, CPU)
    rows = np.arange(4)
    losses = [t.loss(rows, np.random.default_rng(0)).item() for t in (task, plain)]
    assert losses[0] == pytest.approx(losses[1], abs=0.02)  # mu has moved in between
