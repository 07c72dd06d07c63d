"""Losses of mixtures: their numbers, their bounds, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from looks import colour_head

from foveate.errors import MissingCapabilityError, ParameterError
from foveate.focus.config import GOALS
from foveate.focus.losses import LOSSES, LossInputs, mixed
from foveate.models.heads import TextHead
from foveate.models.probe import Probe


def probe(*rows):
    """Classes whose probabilities are the given ones at a feature of 1: (C,) logs as weights."""
    weight = np.log(np.array(rows, np.float32)).T
    return Probe(tuple("abcdef"[: len(weight)]), weight, np.zeros(len(weight), np.float32))


# Two kinds of regions, by their probabilities: (0.8, 0.2) and (0.4, 0.6).
HEAD = probe((0.8, 0.2), (0.4, 0.6))
X = np.eye(2, dtype=np.float32)


def known(**given):
    return LossInputs(**{"x": X, "area": np.array([3.0, 1.0]), "head": HEAD, **given})


def test_cross_entropy_to_a_label():
    found = LOSSES["label"](known(target=1))(X)
    assert found == pytest.approx([-np.log(0.2), -np.log(0.6)], rel=1e-5)
    assert LOSSES["query"](known(target=1))(X) == pytest.approx(found)


def test_the_pseudo_label_is_the_class_of_the_mixture():
    # Logits add up: 3/4 of the one and 1/4 of the other say "a".
    assert LOSSES["pseudo_label"](known())(X) == pytest.approx(
        [-np.log(0.8), -np.log(0.4)], rel=1e-5
    )


def test_the_soft_label_by_hand():
    # Apart: 0.75 * 0.8 + 0.25 * 0.4 = 0.7. Together: softmax of the mean of the logs.
    a, b = 0.8**0.75 * 0.4**0.25, 0.2**0.75 * 0.6**0.25
    target = (0.7 + a / (a + b)) / 2
    expected = [-(target * np.log(p) + (1 - target) * np.log(1 - p)) for p in (0.8, 0.4)]
    assert LOSSES["soft_label"](known())(X) == pytest.approx(expected, rel=1e-5)


def test_entropy_by_hand():
    expected = [-(p * np.log(p) + (1 - p) * np.log(1 - p)) for p in (0.8, 0.4)]
    assert LOSSES["entropy"](known())(X) == pytest.approx(expected, rel=1e-5)


def test_independent_classes():
    head = TextHead(("a", "b"), np.eye(2, dtype=np.float32), 4.0, -3.0, "sigmoid")
    for name in ("soft_label", "entropy", "pseudo_label"):
        loss = LOSSES[name](known(head=head))(np.concatenate([X, np.zeros((1, 2), np.float32)]))
        assert np.isfinite(loss).all()
        assert (loss >= 0).all()


def test_likeness_and_queries_without_classes():
    bare = known(head=None, text=np.array([0.6, 0.8]))
    mean = np.array([3.0, 1.0]) / np.sqrt(10)
    assert LOSSES["likeness"](bare)(X) == pytest.approx(1 - mean)
    assert LOSSES["query"](bare)(5 * X) == pytest.approx([0.4, 0.2])
    assert LOSSES["query"](bare)(-X).max() == pytest.approx(1.8)


def test_novelty_by_hand():
    # Mean 1, spread 2 of the first feature; the second never changes.
    x = np.array([[0.0, 7.0], [0.0, 7.0], [0.0, 7.0], [0.0, 7.0], [5.0, 7.0]])
    loss = LOSSES["novelty"](LossInputs(x, np.ones(5)))
    assert loss(x) == pytest.approx([1 - 1 / 16] * 4 + [0.0])
    assert loss(np.array([[1.0, 7.0], [3.0, 7.0], [9.0, 0.0]])) == pytest.approx([1, 0.75, 0])


@pytest.mark.parametrize("noise", [0.0, 1e-8])  # constant, and constant but for rounding
def test_a_constant_image_has_nothing_new(noise):
    draw = np.random.default_rng(0)
    x = np.full((9, 5), 0.4) + noise * draw.standard_normal((9, 5))
    assert LOSSES["novelty"](LossInputs(x, np.ones(9)))(x).tolist() == [1.0] * 9


def test_given_losses():
    x = np.array([[0.2, 1.0], [0.6, 1.0]])
    loss = LOSSES["given"](LossInputs(x, np.ones(2)))
    assert loss(np.array([[0.2, 1.0], [0.4, 1.0], [0.0, 0.0]])) == pytest.approx([0.2, 0.4, 0.6])


def test_shares_of_losses_add_up():
    parts = [LOSSES[name](known())(X) for name in ("soft_label", "entropy")]
    found = mixed({"soft_label": 1.0, "entropy": 0.5}, known())(X)
    assert found == pytest.approx(parts[0] + 0.5 * parts[1])


def test_one_class_costs_nothing():
    one = known(head=TextHead(("a",), X[:1], 9.0, 0.0, "cosine"), target=0)
    for name in ("label", "pseudo_label", "soft_label", "entropy"):
        assert LOSSES[name](one)(X) == pytest.approx([0, 0])


def test_impossible_classes_are_finite():
    sure = known(head=colour_head(scale=1e4), x=np.eye(3, dtype=np.float32), area=np.ones(3))
    for name in ("pseudo_label", "soft_label", "entropy"):
        assert np.isfinite(LOSSES[name](sure)(sure.x)).all()


def test_goals_name_losses_that_exist():
    for goal in GOALS.values():
        assert set(goal.losses) | set(goal.bare) <= set(LOSSES)
        assert not set(goal.bare) & {"soft_label", "entropy", "pseudo_label", "label"}


def test_missing_inputs_raise():
    with pytest.raises(MissingCapabilityError, match="--labels"):
        LOSSES["entropy"](known(head=None))(X)
    with pytest.raises(ParameterError, match="needs a class"):
        LOSSES["label"](known())
    with pytest.raises(ParameterError, match="--query"):
        LOSSES["query"](known(head=None))
