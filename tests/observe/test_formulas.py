"""Equations of the paper as printed, with numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from planted import material_of, stages_of

from foveate.errors import DataError
from foveate.models.heads import TextHead
from foveate.observe.features import structural_saliency
from foveate.observe.networks import tasks
from foveate.observe.networks.heads import LabelHead, TextConcepts, ToText, similarity_scores
from foveate.observe.networks.losses import alignment_loss, representation_loss
from foveate.observe.scoring.calibration import mocr, obr, two_scale_price
from foveate.observe.scoring.targets import Scale, Similarity, combine, semantic_gain
from foveate.observe.training.crossfit import Evidence, Targets, TargetSettings

CPU = torch.device("cpu")
SCALED = {"head": "sigmoid", "scale": 117.0, "bias": -10.0}  # as of a trained SigLIP


def texts(**scaled):
    """Two texts along the axes of a plane, and a map to it that doubles every length."""
    head = TextHead(("a", "b"), np.eye(2, dtype=np.float32), **(scaled or SCALED))
    return TextConcepts(head, ToText(2 * np.eye(2, dtype=np.float32), np.zeros(2, np.float32)))


def evidence():
    """Three tiles of one token; with a = (1, 0) and b = (0, 1) their cosines are plain."""
    hr = np.array([[3.0, 4.0], [1.0, 0.0], [-1.0, 1.0]], np.float32)
    reference = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 5.0]], np.float32)
    return Evidence(np.array([0.1, 0.4, 0.2]), hr[:, None], hr[:, None], reference,
                    np.zeros(3, np.int64), None)  # fmt: skip


HALF = math.sqrt(0.5)
# max(0, cos(HR, text) - cos(LR, text) / 2), tile by tile, text by text.
GAINS = np.array([[0.6 - 0.5, 0.8 - 0.0], [1.0 - 0.3, 0.0], [0.0, HALF - 0.5]])


def test_equation_5_has_cosines():
    e = evidence()
    hr, low = (np.asarray(x, float) for x in (e.hr[:, 0], e.reference))
    cosines = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (hr, low)]
    found = semantic_gain(*cosines, [1, 1], lam=0.5, similarity="cosine")
    np.testing.assert_allclose(found, GAINS.sum(axis=1))
    best = semantic_gain(*cosines, [1, 1], lam=0.5, similarity="cosine", over="max")
    np.testing.assert_allclose(best, GAINS.max(axis=1))


@pytest.mark.parametrize(
    "scaled", [SCALED, {"head": "cosine", "scale": 100.0, "bias": 0.0}], ids=["sigmoid", "softmax"]
)
def test_the_cosine_of_a_training_has_no_scale_and_no_bias(scaled):
    settings = TargetSettings("cosine", 0.5)
    targets = Targets(evidence(), texts(**scaled), np.ones(2), settings)
    np.testing.assert_allclose(targets.gain(evidence()), GAINS.sum(axis=1), rtol=1e-6)


def test_logits_are_called_logits():
    settings = TargetSettings("logit", 0.5)
    targets = Targets(evidence(), texts(), np.ones(2), settings)
    # scale * cosine + bias of both: the bias alone takes away half of itself.
    cosines = np.array([[0.6, 0.8], [1.0, 0.0], [-HALF, HALF]])
    low = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    expected = np.maximum(0, 117 * cosines - 10 - 0.5 * (117 * low - 10)).sum(axis=1)
    np.testing.assert_allclose(targets.gain(evidence()), expected, rtol=1e-5)


def test_concepts_of_labels_have_no_cosine():
    head = LabelHead(("a", "b"), np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    with pytest.raises(DataError, match=r"without texts.*--text.*similarity='logit'"):
        Targets(evidence(), head, np.ones(2), TargetSettings("cosine"))
    np.testing.assert_allclose(
        similarity_scores(head, "logit")(evidence().reference)[1], [0.6, 0.8]
    )
    with pytest.raises(DataError, match=r"from -10 to 2.*must be from -1 to 1.*similarity='logit'"):
        Similarity.fit([[2.0]], [[-10.0]], "cosine")


def test_equation_6_is_a_product():
    assert combine("product", [0.5, 0.2, 1.0], [0.4, 0.0, 3.0]).tolist() == [0.2, 0.0, 3.0]
    # 1 - cosine of neighbours: right angles twice, the same twice.
    tokens = np.array([[[[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [0.0, 1.0]]]])
    assert structural_saliency(tokens).tolist() == [0.5]
    # By scene, as in section 4.2: its least tile has 0, its best 1.
    found = Scale.fit([1.0, 2.0], "scene_minmax")([1.0, 3.0, 2.0, 7.0], [0, 0, 0, 1])
    assert found.tolist() == [0.0, 1.0, 0.5, 0.0]


MADE = torch.tensor([[2.0, 1.0], [1.0, 4.0], [0.0, 1.0]])
TRUE = torch.tensor([[3.0, 1.0], [1.0, 1.5], [1.0, 2.0]])
MU = torch.tensor([1.0, 1.0])
# Around mu: (1, 0) and (2, 0); (0, 3) and (0, .5); (-1, 0) and (0, 1).
COSINES = [1.0, 1.0, 0.0]


def test_equation_8_is_a_mean_over_all_tokens():
    every = torch.ones(3)
    found = representation_loss(MADE, TRUE, MU, every, norm=0)
    assert float(found) == pytest.approx(1 - sum(COSINES) / 3, abs=1e-6)
    quarter = representation_loss(MADE, TRUE, MU, torch.tensor([1.0, 1.0, 0.25]), norm=0)
    assert float(quarter) == pytest.approx(0.25 / 2.25, abs=1e-6)  # the default, with one observed


@pytest.mark.parametrize("observed", [1.0, 0.25, 0.0])
def test_equation_8_in_a_step_of_a_training(observed):
    """With norm=0 and observed_weight=1 each token counts alike, whatever was observed."""
    draw = np.random.default_rng(0)
    hr, lr = draw.normal(size=(2, 3, 4, 4, 2)).astype(np.float32)
    material = material_of(lr, hr, split=["train", "train", "val"])
    stages = stages_of(material, architecture="residual", norm_weight=0, observed_weight=observed)
    task = stages.predictor_task(stages.new_predictor())
    rows = np.array([0, 1])
    found = float(task.loss(rows, np.random.default_rng(4)).detach())
    masks = tasks.random_masks(material.data.valid[rows], np.random.default_rng(4))
    assert masks.any() and not masks.all()  # noqa: PT018
    with torch.no_grad():
        made = task.net(*(torch.from_numpy(x[rows]) for x in (lr, hr)), torch.from_numpy(masks))
    mu = task.net.mu.numpy()
    a, b = made.tokens.numpy() - mu, hr[rows] - mu
    cosines = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    weight = np.where(masks, observed, 1.0)
    assert found == pytest.approx(1 - (weight * cosines).sum() / weight.sum(), abs=1e-4)


def test_equation_9_divided_by_the_scenes():
    logits = torch.tensor([[2.0, -1.0], [0.0, 1.0]])
    match = torch.tensor([[True, False], [False, True]])
    terms = [2.0, 1.0, 0.0, 1.0]  # y * logit
    expected = sum(math.log(1 + math.exp(-t)) for t in terms) / 2
    assert float(alignment_loss(logits, match)) == pytest.approx(expected)


def test_equations_10_to_12():
    assert obr([2.0, 1.0], [10.0, 20.0]) == pytest.approx(0.1)
    price = two_scale_price(1.0, 10.0, lr_cost=0.05)
    found = mocr([3.0, 30.0], [1.0, 10.0], price, 30.0, finest=1.0)
    assert found == pytest.approx((3 * 1 + 30 * 0.05) / 30)
