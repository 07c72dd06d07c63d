"""Supervision worked out on features: Eq. 5 and 6 against loops, and fills that do not know."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

pytest.importorskip("torch")

import torch
from observed import box
from planted import material_of

from foveate.observe.data.concepts import Concept
from foveate.observe.networks.heads import LabelHead
from foveate.observe.networks.lr_fill import Fill, solve
from foveate.observe.scoring.targets import TARGETS
from foveate.observe.training.crossfit import (
    Evidence,
    Targets,
    TargetSettings,
    crossfitted,
    folds_of,
)

K, D, T = 3, 4, 2
DRAW = np.random.default_rng(0)
HEAD = LabelHead(
    ("a", "b", "c"), DRAW.normal(size=(K, D)).astype(np.float32),
    DRAW.normal(size=K).astype(np.float32),
)  # fmt: skip
WEIGHTS = np.array([1.0, 0.5, 0.0])


def evidence(n=40, seed=0, *, labels=True):
    draw = np.random.default_rng(seed)
    hr, fill = draw.normal(size=(2, n, T, D)).astype(np.float32)
    return Evidence(
        draw.random(n), hr, fill, fill.mean(axis=1), np.repeat(np.arange(4), n // 4),
        draw.random((n, K)) < 0.4 if labels else None,
    )  # fmt: skip


def probability(z, k):
    return expit(float(HEAD.weight[k].astype(float) @ z.astype(float) + HEAD.bias[k]))


def gain_of(e, lam, prevalence, over):
    """Write Eq. 5 out, tile by tile and concept by concept."""
    found = np.zeros(len(e.hr))
    for i in range(len(e.hr)):
        each = []
        for k in range(K):
            high = probability(e.hr[i].mean(axis=0), k) / prevalence[k]
            low = probability(e.reference[i], k) / prevalence[k]
            each.append(WEIGHTS[k] * max(0.0, high - lam * low))
        found[i] = sum(each) if over == "sum" else max(each)
    return found


def unit(values, fitted):
    low, high = np.quantile(fitted, [0.01, 0.99])
    return np.clip((values - low) / (high - low), 0, 1)


@pytest.mark.parametrize(("lam", "over"), [(1.0, "sum"), (0.5, "max"), (0.0, "sum")])
def test_gain_and_product_are_the_paper_written_out(lam, over):
    train, other = evidence(), evidence(20, seed=1)
    targets = Targets(train, HEAD, WEIGHTS, TargetSettings(lam=lam, over=over))
    prevalence = [
        np.mean([probability(tile.mean(axis=0), k) for tile in train.hr]) for k in range(K)
    ]
    known, gain = (gain_of(e, lam, prevalence, over) for e in (train, other))
    np.testing.assert_allclose(targets.gain(other), gain, rtol=1e-5, atol=1e-6)

    def product(e, value):  # Eq. 6
        return unit(e.saliency, train.saliency) * unit(value, known)

    expected = unit(product(other, gain), product(train, known))
    np.testing.assert_allclose(targets(other)["product"], expected, atol=1e-5)


def test_every_form_is_a_share_and_a_blend_gives_each_part_the_same_mean():
    train = evidence()
    targets = Targets(train, HEAD, WEIGHTS, TargetSettings())
    found = targets(train)
    assert list(found) == targets.forms == list(TARGETS)
    assert all(((v >= 0) & (v <= 1)).all() for v in found.values())
    error = np.square(train.hr - train.fill).mean(axis=(1, 2))
    gain = targets.gain(train)
    blend = (gain / gain.mean() + error / error.mean()) / 2
    np.testing.assert_allclose(found["blend"], unit(blend, blend), atol=1e-5)


def test_the_gain_of_the_task_is_a_difference_of_losses():
    train = evidence()
    delta = np.zeros(len(train.hr))
    for i in range(len(delta)):
        for k in range(K):
            for z, sign in ((train.fill[i], 1), (train.hr[i], -1)):
                p = probability(z.mean(axis=0), k)
                loss = -np.log(p if train.present[i, k] else 1 - p)
                delta[i] += sign * WEIGHTS[k] * loss
    found = Targets(train, HEAD, WEIGHTS, TargetSettings())(train)["task-delta"]
    scaled = unit(delta, delta)  # as a column, and then as a target
    np.testing.assert_allclose(found, unit(scaled, scaled), atol=1e-4)


def test_without_concepts_or_labels_there_are_the_other_forms():
    plain = Targets(evidence(labels=False), None, np.zeros(0), TargetSettings())
    assert plain.forms == ["structural", "surprise"]
    e = evidence(labels=False)
    np.testing.assert_allclose(plain.gain(e), np.square(e.hr - e.fill).mean(axis=(1, 2)), rtol=1e-5)
    unlabelled = Targets(evidence(labels=False), HEAD, WEIGHTS, TargetSettings())
    assert "task-delta" not in unlabelled.forms
    assert "semantic" in unlabelled.forms


def test_where_lr_suffices_or_a_concept_is_novel_nothing_is_gained():
    concepts = (
        Concept("a", weight=2.0), Concept("b", min_gsd=10.0), Concept("c", min_gsd=2.0),
        Concept("d", novel=True),
    )  # fmt: skip
    x = np.zeros((1, 2, 2, 3))
    boxes = (box((8, 8), 1.0), box((8, 8), 4.0))
    assert material_of(x, x, concepts=concepts, geoboxes=boxes).weights().tolist() == [2, 0, 1, 0]
    assert material_of(x, x, concepts=concepts).weights().tolist() == [2, 1, 1, 0]
    nothing = Targets(evidence(), HEAD, np.zeros(K), TargetSettings())
    assert not nothing.gain(evidence(seed=5)).any()


def test_the_reference_is_the_tile_or_its_scene():
    here = np.ones((3, 2, 2), bool)
    here[1, 0, 1] = here[2] = False  # a tile left, and a whole scene
    hr = np.random.default_rng(0).normal(size=(3, 2, 2, D))
    material = material_of(hr[..., :2], hr, here=here)
    filled = torch.from_numpy(np.random.default_rng(1).normal(size=hr.shape))
    scenes = np.array([0, 1, 2])
    tile = material.evidence(scenes, filled)
    np.testing.assert_allclose(tile.reference, filled.numpy()[here], atol=1e-6)
    whole = material.evidence(scenes, filled, reference="scene")
    for row, scene in enumerate(whole.scene):
        expected = filled.numpy()[scene][here[scene]].mean(axis=0)
        np.testing.assert_allclose(whole.reference[row], expected, atol=1e-6)
    np.testing.assert_allclose(whole.hr[:, 0], hr[here], atol=1e-6)
    np.testing.assert_allclose(material.means(np.arange(7)), hr[here], atol=1e-6)


def test_a_fill_does_not_know_the_fold_it_fills():
    draw = np.random.default_rng(3)
    lr, hr = draw.normal(size=(8, 2, 2, 3)), draw.normal(size=(8, 2, 2, 5))
    groups = list("aabbccdd")
    material = material_of(lr, hr, groups=tuple(groups))
    found = crossfitted(material.shape, material.data, groups, 0.1, seed=2)
    folds = folds_of(groups, 4, 2)
    mine = np.flatnonzero(folds == folds[3])
    spoilt = hr.copy()
    spoilt[mine] += 100  # its own HR makes no difference, and that of the others does
    other = material_of(lr, spoilt, groups=tuple(groups))
    again = crossfitted(other.shape, other.data, groups, 0.1, seed=2)
    assert torch.equal(found[mine], again[mine])
    rest = np.setdiff1d(np.arange(8), mine)
    assert not torch.isclose(found[rest], again[rest]).all(dim=-1).any()
    fill = Fill(material.shape, conv=False)
    part = material.data.take(rest)
    solve(fill, part.lr, part.target, part.valid, 0.1)
    expected = fill(material.data.lr[mine])
    torch.testing.assert_close(found[mine], expected, atol=1e-5, rtol=1e-4)


def test_a_single_scene_is_filled_by_itself():
    x = np.random.default_rng(0).normal(size=(1, 2, 2, 3))
    material = material_of(x, x)
    assert torch.isfinite(crossfitted(material.shape, material.data, ["a"], 0.1, 0)).all()
