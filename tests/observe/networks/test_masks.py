"""Masks of training: within what is there, in range, and by the generator alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveate.observe.networks.tasks import (
    MAX_OBSERVED,
    MIN_OBSERVED,
    _blocks,
    random_masks,
    sampled_masks,
)

SIDES = st.integers(1, 12)


def tiles(b, rows, cols, seed):
    return np.random.default_rng(seed).random((b, rows, cols)) < 0.8


@given(rows=SIDES, cols=SIDES, seed=st.integers(0, 99))
def test_only_tiles_that_are_there_are_observed(rows, cols, seed):
    here = tiles(6, rows, cols, seed)
    scores = np.random.default_rng(seed + 1).random(here.shape)
    unknown = np.where(here, scores, np.nan)
    for draw in (
        lambda random: random_masks(here, random),
        lambda random: sampled_masks(here, unknown, random),
    ):
        masks = draw(np.random.default_rng(seed))
        assert masks.shape == here.shape
        assert masks.dtype == bool
        assert not (masks & ~here).any()
        assert np.array_equal(masks, draw(np.random.default_rng(seed)))


def test_shares_of_random_masks_cover_their_range():
    here = np.ones((3000, 20, 20), bool)
    share = random_masks(here, np.random.default_rng(0)).mean(axis=(1, 2))
    assert abs((share == 0).mean() - 0.05) < 0.02
    assert abs((share == 1).mean() - 0.05) < 0.02
    between = share[(share > 0) & (share < 1)]
    assert between.max() < MAX_OBSERVED + 0.25  # the last block may go beyond
    assert np.quantile(between, 0.03) < 0.06
    assert np.quantile(between, 0.9) > 0.4
    assert abs(between.mean() - (MIN_OBSERVED + MAX_OBSERVED) / 2) < 0.05


@given(rows=SIDES, cols=SIDES, share=st.floats(MIN_OBSERVED, MAX_OBSERVED), seed=st.integers(0, 99))
def test_blocks_are_rectangles_that_cover_their_share(rows, cols, share, seed):
    mask = _blocks((rows, cols), share, np.random.default_rng(seed))
    largest = max(1, rows // 2) * max(1, cols // 2)
    assert share <= mask.mean() < share + largest / mask.size


def test_one_block_is_one_rectangle():
    for seed in range(50):
        mask = _blocks((9, 12), 1e-9, np.random.default_rng(seed))
        rows, cols = mask.any(axis=1), mask.any(axis=0)
        assert np.array_equal(mask, np.outer(rows, cols))
        for line in (rows, cols):
            at = np.flatnonzero(line)
            assert np.array_equal(at, np.arange(at[0], at[-1] + 1))
            assert at.size <= line.size // 2


def test_a_third_of_the_masks_is_of_blocks():
    here = np.ones((600, 16, 16), bool)
    masks = random_masks(here, np.random.default_rng(0))
    share = masks.mean(axis=(1, 2))
    alike = (masks[:, 1:] == masks[:, :-1]).mean(axis=(1, 2))  # of neighbours
    chance = share**2 + (1 - share) ** 2
    middle = (share > 0.15) & (share < 0.5)
    blocky = (alike > chance + 0.15)[middle].mean()
    assert 0.2 < blocky < 0.45


def test_masks_of_the_sampler_hold_the_best_tiles_of_the_batch():
    here = tiles(40, 10, 10, 0)
    scores = np.random.default_rng(1).random(here.shape)
    best = 0
    for seed in range(20):
        masks = sampled_masks(here, scores, np.random.default_rng(seed))
        for i in range(len(here)):
            chosen, left = scores[i][masks[i]], scores[i][here[i] & ~masks[i]]
            best += bool(chosen.size and left.size and chosen.min() > left.max())
    assert 0.4 < best / 800 < 0.6
    all_at = [sampled_masks(here, scores, np.random.default_rng(s)).mean() for s in range(40)]
    assert 0.1 < np.mean(all_at) < 0.35


def test_equal_scores_and_empty_scenes_are_no_trouble():
    here = np.zeros((3, 4, 4), bool)
    assert not sampled_masks(here, np.zeros(here.shape), np.random.default_rng(0)).any()
    here[:] = True
    sampled_masks(here, np.zeros(here.shape), np.random.default_rng(0))
