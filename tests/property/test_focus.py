"""What holds of a look for any sizes, masks, goals, modes and budgets."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looks import Sized, colour_head, colour_model, cover, land, look, red_query

from foveate.errors import BudgetError, DataError
from foveate.focus import importance as eq
from foveate.focus.config import GOALS, Weights
from foveate.focus.density import KernelDensity, VisualWords, distribution
from foveate.focus.encode import STANDARD
from foveate.focus.importance import perturb_window
from foveate.focus.losses import LOSSES, LossInputs
from foveate.focus.partition import areas, membership, significant, uniform
from foveate.focus.question import FocusQuestion
from foveate.focus.score import AdditiveModel, Scorer
from foveate.focus.search import choose
from foveate.seeds import tie_keys

SEEDS = st.integers(0, 2**16)
LOSS = st.one_of(st.just(0.0), st.floats(0, 1e3), st.floats(0, 1e-6), st.just(1e12))


def random_sets(draw, m, n):
    """m sets of n regions, none of them empty."""
    sets = draw.random((m, n)) < draw.random((m, 1))
    sets[np.arange(m), draw.integers(0, n, m)] = True
    return sets


# Scores


@given(st.tuples(LOSS, LOSS, LOSS, LOSS), st.floats(0, 1), st.floats(0, 10))
def test_scores_are_finite_whatever_the_losses(losses, share, scale):
    whole, loss, alone, both = losses
    for form in ("signed", "one_sided", "two_sided"):
        found = eq.utility(loss, whole, share, form=form)
        assert 0 <= found <= 1.7
    for form in ("marginal", "paper", "text"):
        found = eq.synergy(whole, alone, both, form=form, scale=scale)
        assert 0 <= found <= 1


@given(SEEDS, st.integers(1, 9), st.integers(1, 12))
def test_divergences_of_words_are_bounded(seed, n, k):
    draw = np.random.default_rng(seed)
    counts = draw.uniform(0, 9, (n, k)) * (draw.random((n, k)) < 0.5)
    counts[:, 0] += 0.01
    words, sets = VisualWords(counts), random_sets(draw, 20, n)
    check_bounds(words, sets, (sets @ counts.sum(axis=1)) / counts.sum())


@given(SEEDS, st.integers(1, 6), st.integers(1, 15), st.integers(1, 6))
def test_divergences_of_kernels_are_bounded(seed, n, t, d):
    draw = np.random.default_rng(seed)
    share = draw.uniform(0, 4, (n, t)) * (draw.random((n, t)) < 0.6)
    share[:, 0] += 0.01
    kernel = distribution("kde", draw.standard_normal((t, d)), share, draw)
    assert isinstance(kernel, KernelDensity)
    sets = random_sets(draw, 12, n)
    check_bounds(kernel, sets, (sets @ share.sum(axis=1)) / share.sum())


@given(SEEDS, st.integers(1, 6), st.integers(1, 15), st.integers(1, 6))
def test_divergences_over_samples_are_divergences(seed, n, t, d):
    draw = np.random.default_rng(seed)
    share = draw.uniform(0, 4, (n, t)) * (draw.random((n, t)) < 0.6)
    share[:, 0] += 0.01
    density = distribution("samples", draw.standard_normal((t, d)), share, draw)
    sets = random_sets(draw, 12, n)
    for form in ("forward", "reverse", "js"):
        found = density.divergence(sets, form)
        assert np.isfinite(found).all()
        assert (found >= 0).all()
        assert density.divergence(np.ones((1, n), bool), form) == pytest.approx([0], abs=1e-9)


def check_bounds(density, sets, share):
    for form in ("forward", "reverse", "js"):
        found = density.divergence(sets, form)
        assert np.isfinite(found).all()
        assert (found >= 0).all()
        largest = eq.largest_divergence(share, form=form)
        score = eq.representativeness(found, largest)
        assert ((score >= 0) & (score <= 1)).all()
        if form == "forward":
            # The image is a mixture that holds the set: p_X >= a p_s.
            assert (found <= np.log(1 / share) + 1e-9).all()
        if form == "js" and isinstance(density, VisualWords):
            assert (found <= np.log(2) + 1e-9).all()


@given(SEEDS, st.integers(1, 7), st.integers(1, 5))
def test_the_closed_form_is_the_sum_over_what_is_kept(seed, n, d):
    draw = np.random.default_rng(seed)
    x, area = draw.standard_normal((n, d)), draw.uniform(0.1, 1e3, n)
    aim = draw.standard_normal(d)
    model = AdditiveModel(x, area, lambda z: ((z - aim) ** 2).sum(axis=1))

    def brute(kept):
        rows = np.flatnonzero(kept)
        z = sum(area[r] * x[r] for r in rows) / sum(area[rows]) if rows.size else np.zeros(d)
        return ((z - aim) ** 2).sum()

    sets = random_sets(draw, 16, n)
    np.testing.assert_allclose(model.of(sets), [brute(s) for s in sets], atol=1e-6)
    np.testing.assert_allclose(model.without(sets), [brute(~s) for s in sets], atol=1e-6)
    for i in range(n):
        one = np.arange(n) == i
        found = model.without(np.repeat(one[None], n - 1, 0), np.flatnonzero(~one))
        pairs = [brute(~(one | (np.arange(n) == j))) for j in np.flatnonzero(~one)]
        np.testing.assert_allclose(found, pairs, atol=1e-6)


@given(SEEDS, st.integers(2, 8), st.sampled_from(list(GOALS)), st.booleans())
def test_the_order_of_regions_does_not_matter(seed, n, name, classes):
    draw = np.random.default_rng(seed)
    x, area = draw.random((n, 3)), draw.integers(1, 9, n).astype(float)
    near = np.triu(draw.random((n, n)) < 0.5, 1)
    near |= near.T
    counts, shift = draw.random((n, 4)), draw.random(n)
    goal = GOALS[name]
    head = colour_head() if classes else None

    def scores(order):
        known = LossInputs(x[order], area[order], head, 0, red_query().text)
        parts = goal.losses if classes else goal.bare
        losses = [(share, LOSSES[loss](known)) for loss, share in parts.items()]
        model = AdditiveModel(
            x[order], area[order], lambda z: sum(share * loss(z) for share, loss in losses)
        )
        words = VisualWords(counts[order])
        scorer = Scorer(model, goal, near[np.ix_(order, order)], words, shift[order])
        sets = members[:, order]
        return scorer.single_importance, scorer.importance(sets)

    members = random_sets(draw, 6, n)
    order = draw.permutation(n)
    singles, sets = scores(np.arange(n))
    again, same = scores(order)
    # The quotient of Eq. 6 jumps where its denominator is nothing; so does L(X) = 0 in Eq. 3.
    if name != "paper":
        np.testing.assert_allclose(again, singles[order], atol=1e-5)
        np.testing.assert_allclose(same, sets, atol=1e-5)
    assert np.isfinite(again).all()
    assert np.isfinite(same).all()


@given(SEEDS, st.integers(1, 8), st.integers(1, 3))
def test_greedy_is_exhaustive_for_areas(seed, n, k):
    draw = np.random.default_rng(seed)
    area = draw.permutation(n) + 1.0
    model = AdditiveModel(np.zeros((n, 1)), area, lambda z: np.ones(len(z)))
    weights = Weights(area=1, representativeness=0, robustness=0, synergy=0)
    scorer = Scorer(model, replace(GOALS["balanced"], weights=weights), np.zeros((n, n), bool))
    ties = tie_keys([str(i) for i in range(n)], 0)
    k = min(k, n)
    every = [np.isin(np.arange(n), rows) for rows in combinations(range(n), k)]
    best = every[int(np.argmax(scorer.importance(np.array(every))))]
    found = choose(scorer, k, ties, method="greedy").rows
    assert set(found) == set(np.flatnonzero(best))


@given(SEEDS, st.sampled_from(["top", "prefix", "greedy"]), st.floats(0.3, 1))
def test_no_choice_is_larger_than_allowed(seed, search, limit):
    draw = np.random.default_rng(seed)
    n = 9
    area = draw.uniform(1, 2, n)
    model = AdditiveModel(draw.random((n, 2)), area, lambda z: z[:, 0])
    weights = Weights(representativeness=0, robustness=0)
    near = ~np.eye(n, dtype=bool)
    scorer = Scorer(model, replace(GOALS["balanced"], weights=weights), near)
    ties = tie_keys([str(i) for i in range(n)], 0)
    most = limit * area.sum()
    rows = choose(scorer, 6, ties, method=search, area=most).rows
    assert 1 <= rows.size <= 6
    assert len(set(rows.tolist())) == rows.size
    assert area[rows].sum() <= most * (1 + 1e-6)


# Partitions


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 120))
def test_uniform_cells_cover_exactly(height, width, count):
    try:
        tiles = uniform((height, width), count)
    except DataError:
        assert min(height, width) <= 2 * count
        return
    assert len(tiles) == count
    assert (cover(tiles, (height, width)) == 1).all()
    assert tiles.pixels.sum() == height * width
    assert min(tiles.h.min(), tiles.w.min()) >= 1
    # Equal but for rounding to whole pixels.
    mean = height * width / count
    slack = (1 + 1 / tiles.h) * (1 + 1 / tiles.w)
    assert (tiles.pixels <= mean * slack * (1 + 1 / tiles.w) + 1e-9).all() or mean < 16


@given(
    st.integers(2, 200), st.integers(2, 200), st.integers(1, 40),
    st.tuples(st.integers(1, 9), st.integers(1, 9)), SEEDS,
)  # fmt: skip
def test_significant_cells_cover_exactly(height, width, count, grid, seed):
    tokens = np.random.default_rng(seed).standard_normal((*grid, 4)).astype(np.float32)
    try:
        tiles = significant((height, width), tokens, count)
    except DataError:
        assert min(height, width) <= 2 * count
        return
    assert (cover(tiles, (height, width)) == 1).all()
    assert len(tiles) <= max(count, 1)


@given(
    st.integers(4, 200), st.integers(4, 200), st.integers(1, 12),
    st.integers(1, 20), st.integers(1, 20),
)  # fmt: skip
def test_membership_shares_every_pixel_once(height, width, count, gh, gw):
    try:
        tiles = uniform((height, width), count)
    except DataError:
        return
    found = membership(tiles, (height, width), (gh, gw))
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=(1, 2)), tiles.pixels, rtol=1e-9)
    np.testing.assert_allclose(found.sum(axis=0), height * width / (gh * gw), rtol=1e-9)


# Looks


MODES = ({"mode": "zoom", "crop": 16}, {"mode": "window"}, {"mode": "feature"})

SEARCH_METHODS = ("top", "prefix", "greedy", "importance")


@st.composite
def jobs(draw):
    mode = dict(draw(st.sampled_from(MODES)))
    mode["robust"] = draw(st.sampled_from([None, False, True]))
    search = {
        "regions": draw(st.integers(1, 8)),
        "method": draw(st.sampled_from(SEARCH_METHODS)),
        "persist": draw(st.sampled_from([None, False, True])),
        "explore": draw(st.floats(0, 1)),
        "seed": draw(st.integers(0, 5)),
    }
    return {
        **mode, "search": search, "goal": draw(st.sampled_from(list(GOALS))),
        "cells": draw(st.sampled_from([1, 2, 3, 4, 4])),
        "batch_size": draw(st.sampled_from([1, 5, 32])),
    }  # fmt: skip


def asked_of(job, *, classes):
    query = job["goal"] == "query"
    if classes:
        return FocusQuestion(colour_head(), "red" if query else "", 0 if query else None)
    return red_query() if query else FocusQuestion()


@given(
    jobs(), st.tuples(st.integers(26, 130), st.integers(26, 130)),
    st.one_of(st.floats(1, 5), st.floats(1, 40)), st.booleans(), st.booleans(),
)  # fmt: skip
def test_a_budget_is_kept_and_the_frontier_covers_the_image(job, shape, passes, fixed, classes):
    height, width = shape
    if fixed and job["mode"] != "feature":
        model = Sized(16)
        shown, side = model.shown, 16
    else:
        model, shown = colour_model(tokens=6)
        side = STANDARD
        passes = max(1, passes / 20)
    image = land(height, width, seed=height, patch=(5, 5, 12, 12))
    question = asked_of(job, classes=classes)
    try:
        result = look(image, model, **job, question=question, passes=passes)
    except BudgetError:
        # Refused with the overview seen at most, and what it would have taken is more.
        assert len(shown.images) <= 1
        return
    assert result.passes <= passes * (1 + 1e-9)
    assert result.passes == pytest.approx(shown.pixels / side**2)
    state = result.result.state
    assert (cover(state.tiles, (height, width)) == 1).all()
    assert areas(state.tiles).sum() == height * width
    assert state.chosen.rows.size >= 1
    if (job["goal"], job["search"]["method"]) != ("paper", "top"):  # its check may ask for more
        assert state.chosen.rows.size <= job["search"]["regions"]
    assert np.isfinite(state.scorer.single_importance).all()
    assert all(w.y >= 0 and w.y + w.h <= height and w.x + w.w <= width for w in result.windows)


@given(jobs(), st.integers(30, 130), st.integers(30, 130), st.floats(0.3, 0.98), SEEDS)
def test_nodata_is_left_out(job, height, width, share, seed):
    draw = np.random.default_rng(seed)
    coarse = draw.random((4, 4)) < share
    rows, cols = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    valid = coarse[np.ix_(rows, cols)]
    image = land(height, width, seed=seed)
    model, _ = colour_model(tokens=6)
    question = asked_of(job, classes=False)
    try:
        result = look(image, model, **job, question=question, passes=0, valid=valid)
    except DataError:
        cells = uniform((height, width), max(1, round(job["cells"] ** 2)))
        assert valid.mean() < 0.6 or not len(cells)
        return
    state = result.result.state
    assert cover(state.tiles, (height, width)).max() == 1
    for i, (y, x, h, w) in enumerate(state.features.windows):
        seen = valid[y : y + h, x : x + w].mean()
        assert seen >= 0.5
        cell = state.tiles.window(i)
        own = valid[cell.y : cell.y + cell.h, cell.x : cell.x + cell.w]
        assert areas(state.tiles)[i] == pytest.approx(own.sum(), rel=1e-5)
    assert np.isfinite(state.scorer.single_importance).all()


@settings(max_examples=15)
@given(jobs(), st.integers(30, 120), st.integers(30, 120), SEEDS)
def test_batches_change_nothing(job, height, width, seed):
    image = land(height, width, seed=seed, patch=(9, 9, 12, 12))
    question = asked_of(job, classes=True)
    results = []
    for size in (1, 7):
        given = {**job, "batch_size": size}
        results.append(look(image, colour_model(tokens=6)[0], **given, question=question, passes=0))
    one, other = results
    assert one.windows == other.windows
    assert one.result.state.tiles.tile_id.tolist() == other.result.state.tiles.tile_id.tolist()
    assert one.passes == other.passes


@given(
    st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]),
    st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), SEEDS,
)  # fmt: skip
def test_a_perturbation_keeps_what_an_image_is(dtype, bands, height, width, seed):
    draw = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.integer):
        ends = np.iinfo(dtype)
        image = draw.integers(ends.min, ends.max, (bands, height, width), dtype, endpoint=True)
    else:
        image = draw.normal(0, 1e4, (bands, height, width)).astype(dtype)
    found = perturb_window(image, "window", seed)
    assert (found.dtype, found.shape) == (image.dtype, image.shape)
    wide = image.astype(float)
    assert (np.abs(found - wide) <= 0.5 * np.abs(wide) + 1).all()
    assert (perturb_window(image, "window", seed) == found).all()
