"""A planted world of features: the sampler finds what LR tells, and nothing where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

pytest.importorskip("torch")

import torch
from planted import observer_of, plant, stages_of

from foveate.observe import dense
from foveate.observe.networks.losses import centred_cosine
from foveate.observe.scoring.targets import captured
from foveate.observe.training.trial import Trial

SHARE = 1 / 3


def interval(values):
    """Return the 99 % interval of a mean."""
    values = np.asarray(values)
    reach = student.ppf(0.995, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - reach, values.mean() + reach


def trial_of(material):
    """Train a fill, a kriging and a sampler of the error of the fill; try them on the test."""
    stages = stages_of(material, supervision="surprise", epochs=25, learning_rate=0.01)
    fill, facts = stages.fill()
    predictor, _ = stages_of(material, epochs=1).predictor(fill)
    known = stages.supervised(fill, facts["strength"])
    sampler, _ = stages.sampler("surprise", known)
    observer = observer_of(material, sampler, predictor)
    return Trial(material, observer, material.scenes("test"), targets=known.targets)


def beyond_chance(trial, values):
    """Return, scene by scene, which share of the gain the best tiles capture beyond theirs."""
    gain, found = trial.truth["gain"], []
    for scene in range(len(trial.scenes)):
        own = np.flatnonzero(trial.place[:, 0] == scene)
        chosen = np.zeros(len(own), bool)
        chosen[np.argsort(-values[own], kind="stable")[: int(SHARE * len(own))]] = True
        found.append(captured(gain[own], chosen) - chosen.mean())
    return found


def test_a_gain_that_the_overview_shows_is_found():
    trial = trial_of(plant(visibility=0.95))
    evidence = trial.evidence()
    low, _ = interval(beyond_chance(trial, evidence["learned"]))
    assert low > 0.25
    best = beyond_chance(trial, evidence["gain"])
    assert np.mean(beyond_chance(trial, evidence["learned"])) < np.mean(best)


def test_what_the_overview_does_not_show_no_policy_finds():
    trial = trial_of(plant(visibility=0.0))
    evidence = trial.evidence()
    for name in ("learned", "design"):
        low, high = interval(beyond_chance(trial, evidence[name]))
        assert low < 0 < high, name
    for name in ("random", "uniform"):
        score = np.empty(len(trial.rows))
        ranking = trial.rank(name, evidence)
        score[ranking.rows] = -np.arange(len(trial.rows))
        low, high = interval(beyond_chance(trial, score))
        assert low < 0 < high, name


def better_than_fill(correlation):
    """Return, scene by scene, the cosine of unobserved tiles by kriging less that by the fill."""
    material = plant(correlation=correlation, height=0.0)
    stages = stages_of(material, epochs=12)
    fill, _ = stages.fill()
    predictor, _ = stages.predictor(fill)
    trial = Trial(
        material, observer_of(material, stages.new_sampler(), predictor), material.scenes("test")
    )
    seen = trial.first(trial.rank("uniform", {"place": trial.place}), 0.4)
    unseen = dense.from_grids(~seen, trial.place)
    mu, found = predictor.mu, {}
    true = dense.from_grids(trial.hr, trial.place)
    for how in ("fill", "ours"):
        tokens = dense.from_grids(trial.completed(seen, how), trial.place)
        found[how] = centred_cosine(*map(torch.from_numpy, (tokens, true)), mu).numpy()
    gain, scene = found["ours"] - found["fill"], trial.place[:, 0]
    return [gain[unseen & (scene == i)].mean() for i in range(len(trial.scenes))]


def test_kriging_helps_where_neighbours_lack_the_same_and_only_there():
    low, _ = interval(better_than_fill(0.95))
    assert low > 0.02
    nothing = better_than_fill(0.0)
    assert abs(np.mean(nothing)) < low / 2
