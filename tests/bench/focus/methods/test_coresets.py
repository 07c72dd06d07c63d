"""The baselines of Table 6: formulas by hand, and scenes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from focus_tasks import SIDE, TEXT, classes, planted, task_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from foveate.bench.focus.methods import find_method
from foveate.bench.focus.methods.answers import chosen_first
from foveate.bench.focus.methods.coresets import (
    StandardCoreset,
    _facilities,
    loss_rise,
    max_margin,
    sensitivity,
    whiten_within,
)
from foveate.bench.focus.methods.crops import native_tiles
from foveate.errors import MissingCapabilityError
from foveate.seeds import rng

OVERVIEW = ("scs", "esc", "al-seg")
TILES = ("mmts", "daus")
COLOURS = {"g": (40, 200, 40), "b": (40, 40, 200), "r": (220, 20, 20)}


def quilt(*rows):
    """Return an image of tiles of three colours, written as letters."""
    tiles = np.array([[COLOURS[letter] for letter in row] for row in rows], np.uint8)
    return np.moveaxis(tiles.repeat(SIDE, axis=0).repeat(SIDE, axis=1), 2, 0)


def run(name, image, question=None, **given):
    # The overview is read as it is, and its tokens lie on the tiles.
    rows, cols = (side // SIDE for side in image.shape[1:])
    size = {"size": rows * SIDE, "tokens": rows} if rows == cols else {}
    task, shown = task_of(image, question, **(size | given))
    return find_method(name)(task), task, shown


LAND = quilt("gggg", "ggbb", "ggbb", "gggr")


@pytest.mark.parametrize("name", OVERVIEW)
def test_an_overview_and_crops_are_paid(name):
    _, task, shown = run(f"{name}/features", LAND, classes(), passes=6)
    assert len(shown.images) == task.encoder.work.passes == 6


@pytest.mark.parametrize("name", TILES)
def test_all_passes_show_tiles(name):
    _, task, shown = run(f"{name}/features", LAND, classes("red"), passes=6)
    assert len(shown.images) == task.encoder.work.passes == 6


@pytest.mark.parametrize("name", OVERVIEW)
def test_tokens_are_needed(name):
    with pytest.raises(MissingCapabilityError, match="tokens"):
        run(f"{name}/mean", LAND, classes(), tokens=None)


def test_the_order_of_choice_is_the_order_of_importance():
    found = chosen_first(np.array([2, 0]), np.array([5.0, 1.0, 2.0, 3.0]))
    assert found.tolist() == [1.5, 0, 2, 0.5]


# SCS


def test_sensitivity_by_hand():
    x = np.array([[0], [0], [0], [0], [10]], np.float32)
    # The mean is 2: squared distances are 4, 4, 4, 4 and 64 of 80.
    found = sensitivity(x, 1, rng(0, "test"))
    np.testing.assert_allclose(found, [0.25, 0.25, 0.25, 0.25, 1.0], rtol=1e-6)
    # Two clusters without spread: what is left is one over their sizes.
    np.testing.assert_allclose(sensitivity(x, 2, rng(0, "test")), [0.25] * 4 + [1.0])


def test_a_tile_unlike_all_others_is_drawn_first():
    image = quilt("gggg", "gggg", "ggrg", "gggg")
    for seed in range(5):
        found, *_ = run("scs/features", image, passes=4, seed=seed)
        assert found.windows[0] == (2 * SIDE, 2 * SIDE, SIDE, SIDE)
        assert found.importance.argmax() == 10


def test_the_weighted_sample_stands_for_the_scene():
    # Half of the draws of a scene with one red tile of 16 hold it; its weight is small.
    image = quilt("gggg", "gggg", "ggrg", "gggg")
    task, _ = task_of(image)
    tiles = native_tiles(task)
    x = np.zeros((16, 1), np.float32)
    x[10] = 1
    share = []
    for seed in range(200):
        task, _ = task_of(image, seed=seed)
        chosen = StandardCoreset(clusters=2).select(task, tiles, x, 8)
        share.append((chosen.weight @ x[chosen.rows, 0]) / chosen.weight.sum())
    assert np.mean(share) == pytest.approx(1 / 16, abs=0.015)
    found, *_ = run("scs/features", image, classes(), passes=6)
    assert found.probabilities.argmax() == 1


# ESC


def test_one_tile_of_each_kind_with_their_numbers():
    found, *_ = run("esc/features", LAND, classes(), passes=4, regions=3)
    kinds = {"".join(k for k in "gbr" if is_kind(w, k)) for w in found.windows}
    assert kinds == {"g", "b", "r"}
    # Eleven tiles of 16 are green: so is the weighted mean.
    assert found.probabilities.argmax() == 1


def is_kind(window, letter):
    y, x, *_ = window
    return tuple(LAND[:, y, x]) == COLOURS[letter]


@given(arrays(np.float64, (5, 3), elements=st.floats(0, 9, width=16)), st.integers(1, 5))
def test_facilities_are_greedy(bound, count):
    sizes, ties = np.array([4, 2, 1]), np.arange(5, dtype=np.uint64)
    rows = _facilities(bound, sizes, count, ties)
    assert len(set(rows)) == len(rows) == count
    for k in range(count):
        costs = {
            row: float(bound[[*rows[:k], row]].min(axis=0) @ sizes)
            for row in range(5) if row not in rows[:k]
        }  # fmt: skip
        spread = max(costs.values()) - min(costs.values())
        assert costs[rows[k]] <= min(costs.values()) + 2e-4 * max(spread, 0.1)


# al-seg


def test_within_groups_all_directions_vary_alike():
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 4)
    x = draw.normal(size=(120, 3)) * [10, 1, 0.1] + draw.normal(size=(30, 3))[groups]
    z = whiten_within(x, groups, 1e-9)
    apart = z - np.stack([z[groups == g].mean(axis=0) for g in range(30)])[groups]
    np.testing.assert_allclose(apart.T @ apart / 120, np.eye(3), atol=1e-5)
    # Nothing varies within groups: nothing is learned, and nothing changes.
    assert (whiten_within(x, np.arange(120), 0.1) == x).all()


def test_what_varies_between_neighbours_does_not_count():
    # Stripes of green and blue in every block, and a block that is a little red besides.
    image = quilt("gbgb", "gbgb", "gbgb", "gbgb")
    image[0, 2 * SIDE :, 2 * SIDE :] = 110
    block = [w for w in run("al-seg/features", image)[0].cells if min(w.y, w.x) >= 2 * SIDE]
    for seed in range(4):
        found, *_ = run("al-seg/features", image, passes=3, seed=seed)
        # Two centres: one of them is in that block, wherever it starts.
        assert sum(w in block for w in found.windows) == 1
    # Plain k-center goes from green to blue instead.
    plain = [run("k-center/mean", image, passes=3, seed=s)[0].windows for s in range(4)]
    assert any(sum(w in block for w in windows) != 1 for windows in plain)


# MMTS


def test_the_margin_of_two_by_hand():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    # The shortest p with p (3, 4) = 1.
    np.testing.assert_allclose(max_margin(x, 0, 1e-8), [3 / 25, 4 / 25], atol=1e-6)
    assert max_margin(x[[0, 0]], 0, 1e-4).tolist() == [0, 0]


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_the_margin_is_the_shortest(seed, n):
    x = np.random.default_rng(seed).normal(size=(n, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    gaps = (x[0] - x)[1:]
    slack = 1e-2
    p = max_margin(x, 0, slack)

    def cost(q):
        return q @ q + (np.maximum(1 - gaps @ q, 0) ** 2).sum() / slack

    best = minimize(cost, p * 0, method="BFGS", options={"gtol": 1e-9})
    assert cost(p) <= best.fun * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("question", [classes("red"), TEXT])
def test_attention_selects_the_tile_of_the_query(question):
    image, window = planted()
    found, *_ = run("mmts/features", image, question, regions=2)
    assert found.windows[0] == window
    best = np.sort(found.importance)[::-1]
    assert best[0] - best[1] >= 0.9  # the margin, but for the slack
    assert question.head is None or found.probabilities.argmax() == 0


# DAUS


def test_tiles_of_the_class_that_is_unlearned_lose():
    found, *_ = run("daus/features", LAND, classes(), regions=16)
    kind = ["gbr"[[is_kind(w, k) for k in "gbr"].index(True)] for w in found.cells]
    rise = dict(zip(kind, found.importance, strict=True))
    # The scene is green. Tiles of other classes become surer, or change little.
    assert rise["g"] > 0
    assert max(rise["b"], rise["r"]) < rise["g"] / 2
    assert [kind[found.cells.index(w)] for w in found.windows[:11]] == ["g"] * 11


def test_query_class_is_unlearned():
    image, window = planted()
    found, *_ = run("daus/features", image, classes("red"))
    assert found.windows[0] == window


def test_the_step_of_forgetting_is_the_gradient_over_the_fisher_information():
    draw = np.random.default_rng(1)
    x, head = draw.normal(size=(6, 3)).astype(np.float32), classes().head
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    z, target, damping = x.mean(axis=0), 1, 0.01

    def loss(weight, features, label):
        logits = head.logits(features[None])[0].astype(float) + weight @ features
        return np.log(np.exp(logits).sum()) - logits[label]

    gradient, h = np.zeros((3, 3)), 1e-5
    for place in np.ndindex(3, 3):
        one = np.zeros((3, 3))
        one[place] = h
        gradient[place] = (loss(one, z, target) - loss(-one, z, target)) / (2 * h)
    p = head.probabilities(x).astype(float)
    fisher = np.mean([np.outer(a * (1 - a), b**2) for a, b in zip(p, x, strict=True)], axis=0)
    step = gradient / (fisher + damping * fisher.mean())
    own = p.argmax(axis=1)
    # Its length: the logit of the class falls by 1 against the others.
    others = [0, 2]
    q = head.probabilities(z[None])[0].astype(float)[others]
    step /= (step @ z)[others] @ (q / q.sum()) - (step @ z)[target]
    expected = [loss(step, a, c) - loss(0 * step, a, c) for a, c in zip(x, own, strict=True)]
    np.testing.assert_allclose(loss_rise(head, x, z, target, damping), expected, atol=1e-4)


def test_classes_are_unlearned():
    with pytest.raises(MissingCapabilityError, match="needs classes"):
        run("daus/features", LAND, TEXT)
