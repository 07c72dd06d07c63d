from itertools import combinations

import numpy as np
import pytest

from foveate.report import numbers


def brute(scene, windows):
    found = np.zeros(len(scene), int)
    for i, j in combinations(range(len(scene)), 2):
        (a, b, h, w), (c, d, k, m) = windows[i], windows[j]
        if scene[i] == scene[j] and a < c + k and c < a + h and b < d + m and d < b + w:
            found[[i, j]] += 1
    return found


def test_overlaps_against_all_pairs():
    draw = np.random.default_rng(3)
    for _ in range(30):
        k = int(draw.integers(0, 25))
        windows = np.column_stack([draw.integers(0, 40, (k, 2)), draw.integers(1, 12, (k, 2))])
        scene = draw.integers(0, 3, k)
        assert numbers.overlaps(scene, windows).tolist() == brute(scene, windows).tolist()


def test_touching_windows_do_not_overlap():
    windows = np.array([[0, 0, 10, 10], [0, 10, 10, 10], [10, 0, 10, 10]])
    assert not numbers.overlaps(np.zeros(3, int), windows).any()


def test_overlap_by_chance_is_the_mean_over_all_selections():
    scene = np.zeros(6, int)
    windows = np.array([[0, x, 10, 10] for x in (0, 5, 12, 30, 36, 60)])
    degree = numbers.overlaps(scene, windows)
    for k in (1, 2, 3, 5, 6):
        shares = [
            (numbers.overlaps(scene[list(rows)], windows[list(rows)]) > 0).mean()
            for rows in combinations(range(6), k)
        ]
        assert numbers.overlap_by_chance(degree, k) == pytest.approx(np.mean(shares))


def test_balance():
    counts = np.array([[90, 10, 0], [50, 50, 0], [40, 60, 0]])
    found = numbers.balance(counts, np.array([1, 2]))
    assert found.pool == pytest.approx([0.6, 0.4, 0])
    assert found.kept == pytest.approx([0.45, 0.55, 0])
    assert found.factor[:2] == pytest.approx([0.75, 1.375])
    assert np.isnan(found.factor[2])  # not in the pool: no factor, and not the rarest class
    assert found.rarest == 1
    expected = -(0.6 * np.log(0.6) + 0.4 * np.log(0.4)) / np.log(3)
    assert found.entropy_pool == pytest.approx(expected)


def test_histogram_counts_and_line():
    score = np.array([0.0, 0.25, 0.5, 0.9, 1.0, np.nan])
    found = numbers.histogram(score, np.array([4, 3]), bins=4)
    assert found.all.tolist() == [1, 1, 1, 2]
    assert found.kept.tolist() == [0, 0, 0, 2]
    assert (found.line, found.unscored, found.places) == (0.9, 1, False)


def test_histogram_of_places_of_one_value_and_of_nothing():
    assert numbers.histogram(1 - np.arange(10) / 10, np.array([0])).places
    flat = numbers.histogram(np.ones(4), np.array([0]))
    assert flat.all.sum() == 4
    assert not flat.places
    assert numbers.histogram(np.full(3, np.nan), np.array([0])) is None


def test_consensus_and_chance():
    votes = numbers.consensus(4, [np.array([0, 1]), np.array([1]), np.array([1, 2])])
    assert votes.tolist() == [1, 3, 1, 0]
    chance = numbers.votes_by_chance(4, [2, 2])
    assert chance == pytest.approx([1, 2, 1])
