"""Equations 2 and 3 of the paper against numbers worked out by hand, through `focus.look`."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from looks import Shares, colour_model, land

from foveate import focus
from foveate.errors import ParameterError
from foveate.models.probe import Probe
from foveate.seeds import rng

QUARTERS = [(0.9, 0.1), (0.5, 0.5), (0.2, 0.8), (0.6, 0.4)]  # probability of a, of b


def quarters():
    """128 x 128 pixels in four flat quarters; their mean colours are numbers of the probe."""
    image = np.zeros((3, 128, 128), np.uint8)
    for i, (a, _) in enumerate(QUARTERS):
        y, x = 64 * (i // 2), 64 * (i % 2)
        image[0, y : y + 64, x : x + 64] = round(100 * a)
        image[1, y : y + 64, x : x + 64] = 100 - round(100 * a)
    return image


def paper(goal="paper", *, target=None, search=None, **given):
    if isinstance(goal, str):
        goal = focus.GOALS[goal]
    return focus.look(
        quarters(), colour_model()[0], head=Shares(), goal=goal, target=target, mode="window",
        robust=False, cells=2, search=focus.SearchConfig(depth=0, **(search or {})), **given,
    )  # fmt: skip


def test_equation_3_by_hand():
    # L is -log p(a). The image has p(a) = 0.55: L(X) = 0.598; that of the first quarter is 0.105.
    look = paper(target="a")
    scores = look.result.state.scorer.singles[:, 0]
    whole = -log(0.55)
    for (a, _), score in zip(QUARTERS, scores, strict=True):
        assert score == pytest.approx(
            exp(-abs(whole + log(a)) / whole) + 0.7 * (1 - 1 / 4), abs=1e-5
        )
    assert scores[0] == pytest.approx(0.4386 + 0.525, abs=1e-3)


def test_the_check_of_selected_regions_is_equation_2():
    # The two best: v = S / (2 s) of each, with S the mean of s = 1 + S(r) over the image.
    look = paper(target="a", search={"regions": 2})
    state = look.result.state
    s = 1 + state.scorer.single_importance
    alone = np.array([-log(a) for a, _ in QUARTERS])
    by_hand = sum(s.mean() / (2 * s[row]) * alone[row] for row in state.chosen.rows)
    assert look.epsilon == pytest.approx((by_hand - alone.mean()) / alone.mean(), abs=1e-5)
    assert look.stored().summary()["epsilon_form"] == "weighted"


def test_other_goals_compare_the_mixture():
    look = paper("dominant", target="a", search={"regions": 2})
    rows = look.result.state.chosen.rows
    assert look.result.state.chosen.weight is None
    mixed = np.mean([QUARTERS[row][0] for row in rows])
    whole = -log(0.55)
    assert look.epsilon == pytest.approx((-log(mixed) - whole) / whole, abs=1e-5)


def test_equation_2_has_the_weights_of_theorem_5_1():
    look = paper(target="a", search={"method": "importance", "regions": 3, "seed": 5})
    state = look.result.state
    # Eq. 1: the mean of l over the four quarters, each with P = 1/4.
    alone = np.array([-log(a) for a, _ in QUARTERS])
    whole = alone.mean()
    # s = 1 + S, and S of the theorem is the mean of s; v = S / (3 s) for each of three draws.
    s = 1 + state.scorer.single_importance
    drawn = rng(5, "focus/sample").choice(4, 3, replace=True, p=s / s.sum())
    by_hand = sum(s.mean() / (3 * s[row]) * alone[row] for row in drawn)
    assert sorted(set(state.chosen.rows.tolist())) == sorted({int(row) for row in drawn})
    assert look.epsilon == pytest.approx((by_hand - whole) / whole, abs=1e-5)
    # The mixture of the same regions is another number: that is no Eq. 2.
    mixed = -log(np.mean([QUARTERS[row][0] for row in set(drawn.tolist())]))
    assert look.epsilon != pytest.approx((mixed + log(0.55)) / -log(0.55), abs=1e-3)


def test_equation_2_is_right_on_average():
    # Theorem 5.1: the weighted loss of a sample is an unbiased estimate.
    found = [
        paper(target="a", search={"method": "importance", "regions": 6, "seed": seed}).epsilon
        for seed in range(60)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert np.std(found) > 0.01


def test_the_limit_of_the_check_is_that_of_equation_2():
    look = paper(target="a", search={"method": "importance", "seed": 5, "epsilon": 1e-9})
    assert not look.result.state.chosen.ok
    wide = paper(target="a", search={"method": "importance", "seed": 5, "epsilon": 10.0})
    assert wide.result.state.chosen.ok


def test_without_classes_the_paper_divides_by_nothing():
    image, model = land(128, 128, patch=(10, 10, 30, 30)), colour_model()[0]
    with pytest.raises(ParameterError, match=r"needs classes.*divides.*--option guard="):
        focus.look(image, model, goal="paper", mode="window")
    goal = focus.GOALS["paper"].with_options(guard=0.2)
    look = focus.look(image, model, goal=goal, mode="window", search=focus.SearchConfig(depth=0))
    scorer = look.result.state.scorer
    loss = scorer.model.of(np.eye(16, dtype=bool))
    expected = np.exp(-np.abs(loss - scorer.model.whole) / 0.2) + 0.7 * 15 / 16
    np.testing.assert_allclose(scorer.singles[:, 0], expected, atol=1e-6)


def test_zero_loss_is_the_limit_of_equation_3():
    # L(X) is 0: only what answers as surely has the utility 1, all else 0; nothing is added.
    weight = np.array([[400.0, 0, 0], [-400.0, 0, 0]], np.float32)
    sure = Probe(("a", "b"), weight, np.array([-60, 60], np.float32), inputs="raw")
    look = focus.look(
        quarters(), colour_model()[0], head=sure, goal="paper", target="a", mode="window",
        robust=False, cells=2, search=focus.SearchConfig(depth=0),
    )  # fmt: skip
    assert look.result.state.scorer.model.whole == pytest.approx(0, abs=1e-9)
    assert look.result.state.scorer.singles[:, 0] == pytest.approx([1.525, 1.525, 0.525, 1.525])
