"""Trials, judged by hand on two small scenes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from toy_trial import toy

from foveate.observe.training.trial import Trial


@pytest.fixture(scope="module")
def trial():
    return toy()


def test_what_is_measured_is_what_is_there(trial):
    nothing = np.zeros((2, 2, 2), bool)
    found = trial.measure(trial.completed(nothing, "fill"), nothing)
    # By the fill 3, 2, -1, -1, -1.5, ...: those that show it stand at 1, 2 and 5.
    assert found.tiles[0] == pytest.approx((1 + 1 + 3 / 5) / 3)
    assert found.unseen[0] == found.tiles[0]
    assert found.regions.tolist() == found.scenes_max.tolist() == found.scenes_mean.tolist() == [1]
    true, fill = (
        x[trial.valid[..., None].repeat(2, -1)].reshape(-1, 2) for x in (trial.hr, trial.lr)
    )
    norms = np.linalg.norm(true, axis=1), np.linalg.norm(fill, axis=1)
    assert found.cosine == pytest.approx(np.mean((true * fill).sum(axis=1) / norms[0] / norms[1]))
    assert found.norm == pytest.approx(np.mean(norms[1] / norms[0]))


def test_unobserved_tiles_are_measured_apart(trial):
    seen = np.zeros((2, 2, 2), bool)
    seen[0, 0, 0] = True
    found = trial.measure(trial.completed(seen, "fill"), seen)
    assert found.tiles.tolist() == found.unseen.tolist() == [1]
    assert found.cosine == pytest.approx(1)
    lower = trial.measure(trial.completed(~seen, "fill"), ~seen)
    assert lower.unseen[0] == 1  # one tile is left, which shows it
    assert lower.tiles[0] == pytest.approx((1 + 1 + 3 / 5) / 3)


def test_ways_of_completing(trial):
    seen = np.zeros((2, 2, 2), bool)
    seen[0, 0, 1] = True
    none, nearest, fill, ours = (
        trial.completed(seen, how) for how in ("none", "nearest", "fill", "ours")
    )
    for tokens in (none, nearest, fill, ours):
        np.testing.assert_array_equal(tokens[0, 0, 1], trial.hr[0, 0, 1])
    assert not none[~seen].any()
    np.testing.assert_array_equal(nearest[0], np.broadcast_to(trial.hr[0, 0, 1], (2, 2, 2)))
    assert not nearest[1].any()  # nothing was observed there
    np.testing.assert_array_equal(fill[~seen], trial.lr[~seen])
    np.testing.assert_allclose(ours[~seen], (trial.lr + trial.hr)[~seen] / 2)
    np.testing.assert_array_equal(trial.completed(seen, "full"), trial.hr)


def test_the_best_share_is_rounded_down_and_exact(trial):
    ranking = trial.rank("learned")
    for share, count in ((0.0, 0), (1 / 7, 1), (0.28, 1), (2 / 7, 2), (0.99, 6), (1.0, 7)):
        seen = trial.first(ranking, share)
        assert seen.sum() == count
        assert not (seen & ~trial.valid).any()
    assert trial.first(ranking, 1 / 7)[1, 0, 0]  # the highest of LR's first feature


def test_quality_without_labels_is_the_cosine_with_1_for_what_was_observed():
    trial = toy(labelled=False)
    seen = np.zeros((2, 2, 2), bool)
    seen[1, 0] = True
    tokens = trial.completed(seen, "fill")
    cosine = trial.measure(tokens, seen).cosine
    assert trial.quality(tokens, seen).value == pytest.approx(2 / 7 + 5 / 7 * cosine)
    assert trial.quality(trial.hr, trial.valid).value == pytest.approx(1)
    assert trial.measure(tokens, seen).means()["tiles"] is None
    np.testing.assert_allclose(
        trial.truth["gain"], np.square(trial.hr - trial.lr).mean(-1)[trial.valid]
    )


def test_choosing_never_looks_at_high_resolution(trial):
    blind = Trial(trial.material, trial.observer, trial.scenes)
    blind.hr = np.full_like(blind.hr, np.nan)
    found = blind.evidence()
    assert set(found) == {"place", "learned", "probabilities"}
    for name, values in trial.evidence().items():
        if name in found:
            np.testing.assert_array_equal(found[name], values)
    assert blind.rank("lr-entropy").rows.tolist() == trial.rank("lr-entropy").rows.tolist()
    assert blind.truth == {}


def test_no_concept_in_a_trial_is_no_number(trial):
    none = toy()
    none.known = np.zeros_like(none.known)
    seen = np.zeros((2, 2, 2), bool)
    found = none.measure(none.completed(seen, "fill"), seen).means()
    assert found["tiles"] is None
    assert np.isnan(none.quality(none.completed(seen, "fill"), seen).value)
