"""The search of section 4.2 of the paper, against a recursion that is written out here."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from looks import Shares, colour_model

from foveate import focus
from foveate.focus.score import AdditiveModel, Scorer
from foveate.focus.search import EQUAL, choose_coreset

SIDE, GRID = 512, 8  # pixels, and flat squares along a side
LEVELS = (256, 128, 64)  # sides of the cells
UTILITY = {"weights": {"representativeness": 0, "robustness": 0, "synergy": 0}}


def scene(p):
    """(3, 512, 512) pixels of (8, 8) flat squares with the probability p of the class a."""
    share = np.round(100 * p).repeat(SIDE // GRID, 0).repeat(SIDE // GRID, 1)
    return np.stack([share, 100 - share, 0 * share]).astype(np.uint8)


def looked(p, goal="paper", **search):
    goal = focus.GOALS[goal].with_options(**UTILITY)
    return focus.look(
        scene(p), colour_model()[0], head=Shares(), goal=goal, target="a", mode="window",
        robust=False, cells=2, budget={"passes": 0}, search=focus.SearchConfig(**search),
    )  # fmt: skip


class Recursion:
    """Section 4.2 over the utility of Eq. 3 alone; cells are ``(y, x, side)``."""

    def __init__(self, p, k, epsilon):
        self.p, self.k, self.epsilon = np.round(p, 2), k, epsilon
        self.whole = -log(self.p.mean())

    def mean(self, cells):
        unit = SIDE // GRID
        return np.mean([
            self.p[y // unit : (y + s) // unit, x // unit : (x + s) // unit].mean()
            for y, x, s in cells for _ in range((s // unit) ** 2)
        ])  # fmt: skip

    def score(self, cells):
        area = sum(s * s for *_, s in cells) / SIDE**2
        return exp(-abs(self.whole + log(self.mean(cells))) / self.whole) + 0.7 * (1 - area)

    def select(self, candidates, frontier):
        order = sorted(candidates, key=lambda cell: -self.score([cell]))
        for k in range(min(self.k, len(order)), len(order) + 1):
            eps = self.weighted(order[:k], frontier)
            if abs(eps) <= self.epsilon:
                return order[:k], eps, True
        chosen = order[: self.k]
        return chosen, self.weighted(chosen, frontier), False

    def weighted(self, cells, frontier):
        # Eq. 1: the mean of l over X. Eq. 2 with v = S / (m s), s = 1 + S(r), S the mean of s.
        share = {cell: cell[2] ** 2 / SIDE**2 for cell in frontier}
        s = {cell: 1 + self.score([cell]) for cell in frontier}
        total = sum(share[cell] * s[cell] for cell in frontier)
        full = sum(share[cell] * -log(self.mean([cell])) for cell in frontier)
        found = sum(total / (len(cells) * s[cell]) * -log(self.mean([cell])) for cell in cells)
        return (found - full) / full

    def run(self):
        frontier = [(y, x, 256) for y in (0, 256) for x in (0, 256)]
        chosen, eps, ok = self.select(frontier, frontier)
        if not ok:
            return chosen, eps, "coreset"
        for side in LEVELS[1:]:
            parts = [
                (y + i, x + j, side) for y, x, _ in chosen for i in (0, side) for j in (0, side)
            ]
            frontier = [cell for cell in frontier if cell not in chosen] + parts
            after, eps_after, ok = self.select(parts, frontier)
            if not ok:
                return chosen, eps, "coreset"
            if self.score(after) < self.score(chosen) - EQUAL:
                return chosen, eps, "gain"
            chosen, eps = after, eps_after
        return chosen, eps, "resolution"


@pytest.mark.parametrize("seed", range(12))
def test_the_recursion_of_the_paper(seed):
    draw = np.random.default_rng(seed)
    p = np.round(draw.uniform(0.03, 0.97, (GRID, GRID)) ** draw.uniform(0.5, 3), 2).clip(0.02, 0.98)
    k, epsilon = int(draw.integers(1, 4)), float(draw.choice([0.98, 0.3, 0.1, 0.02]))
    expected, eps, stop = Recursion(p, k, epsilon).run()
    look = looked(p, regions=k, epsilon=epsilon)
    assert look.result.stop == stop
    assert {(w.y, w.x, w.h) for w in look.windows} == set(expected)
    assert look.epsilon == pytest.approx(eps, abs=2e-3)


def test_all_stopping_rules_occur():
    ends = set()
    for seed in range(12):
        draw = np.random.default_rng(seed)
        p = np.round(draw.uniform(0.03, 0.97, (GRID, GRID)) ** draw.uniform(0.5, 3), 2)
        k, epsilon = int(draw.integers(1, 4)), float(draw.choice([0.98, 0.3, 0.1, 0.02]))
        ends.add(Recursion(p.clip(0.02, 0.98), k, epsilon).run()[2])
    assert ends == {"gain", "coreset", "resolution"}


def test_what_was_not_selected_is_not_looked_into():
    # One region at a time: each level cuts one cell, wherever the best of all would be.
    p = np.random.default_rng(3).uniform(0.1, 0.9, (GRID, GRID))
    paper = looked(p, regions=1, persist=True)
    assert len(paper.result.state.tiles) == 4 + 3 + 3
    levels = paper.result.state.tiles.level
    assert sorted(levels.tolist()) == [0] * 3 + [1] * 3 + [2] * 4
    first = next(w for w in paper.windows)
    parents = paper.result.parents
    assert parents[parents[first]].h == 256


def additive(loss, area=None):
    """Regions whose losses alone are given, and those of sets their means."""
    loss = np.asarray(loss, float)
    area = np.ones(len(loss)) if area is None else np.asarray(area, float)
    goal = focus.GOALS["paper"].with_options(**UTILITY)
    model = AdditiveModel(loss[:, None], area, lambda z: z[:, 0])
    return Scorer(model, goal, np.zeros((len(loss), len(loss)), bool))


def test_more_regions_until_the_check_is_met():
    # L = 1; the first region alone is near to it, its weighted loss is not: S/(m s) is not 1.
    scorer = additive([1.0, 0.2, 1.8, 0.6, 1.4])
    ties = np.arange(5, dtype=np.uint64)
    loose = choose_coreset(scorer, 1, ties, epsilon=0.98)
    assert loose.rows.tolist() == [0]
    s = 1 + scorer.single_importance
    assert loose.weight == pytest.approx([s.mean() / s[0]])
    assert loose.epsilon == pytest.approx(s.mean() / s[0] - 1)
    assert loose.ok
    tight = choose_coreset(scorer, 1, ties, epsilon=0.5 * abs(loose.epsilon))
    assert tight.rows.size > 1
    assert tight.ok
    smaller = [
        choose_coreset(scorer, k, ties, epsilon=9).epsilon for k in range(1, tight.rows.size)
    ]
    assert min(map(abs, smaller)) > 0.5 * abs(loose.epsilon) >= abs(tight.epsilon)


def test_without_a_coreset_the_best_regions_are_kept():
    scorer = additive([1.0, 0.2, 1.8, 0.6, 1.4])
    found = choose_coreset(scorer, 2, np.arange(5, dtype=np.uint64), epsilon=1e-12)
    assert not found.ok
    assert found.rows.size == 2
    counted = choose_coreset(scorer, 1, np.arange(5, dtype=np.uint64), epsilon=1e-12, grow=False)
    assert (counted.rows.size, counted.ok) == (1, False)
    some = choose_coreset(
        scorer, 2, np.arange(5, dtype=np.uint64), allowed=np.array([0, 1, 0, 1, 0], bool)
    )
    assert set(some.rows.tolist()) == {1, 3}
    none = choose_coreset(scorer, 2, np.arange(5, dtype=np.uint64), area=0.5)
    assert (none.rows.size, none.ok) == (1, False)


def test_the_weights_do_not_fuse_what_was_not_drawn():
    look = looked(np.random.default_rng(0).uniform(0.1, 0.9, (GRID, GRID)), regions=3)
    state = look.result.state
    assert state.chosen.weight is not None
    assert not state.chosen.drawn
    mean = state.features.x[state.chosen.rows].mean(axis=0)
    expected = Shares().probabilities(mean[None])[0].max()
    assert look.predictions["fused"].probability == pytest.approx(float(expected), abs=1e-5)


def test_other_goals_search_the_frontier():
    p = np.random.default_rng(3).uniform(0.1, 0.9, (GRID, GRID))
    found = looked(p, goal="dominant", regions=1, persist=True)
    assert found.result.state.chosen.weight is None
    assert len(found.result.state.tiles) > 10
