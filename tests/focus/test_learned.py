"""A trained scorer: what it saves, what it keeps, what it refuses, and that it is stored whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from looks import colour_head, colour_model, land

from foveate.errors import DataError, ParameterError
from foveate.focus import LearnedScorer, look, train_scorer
from foveate.focus.distil import PRESETS, Split, shared_area
from foveate.focus.question import make_question
from foveate.grid import Window
from foveate.models.probe import Probe

pytest.importorskip("torch")

BUDGET = {"regions": 6, "passes": 0}
CROP = 32


def six(batch):
    """Mean and spread of each band: (b, 6)."""
    x = batch.astype(np.float64) / 255
    return np.concatenate([x.mean(axis=(2, 3)), x.std(axis=(2, 3))], axis=1)


def encoder(size=(32, 32)):
    return colour_model(size=size, embed=six, dim=6)


def scene(seed):
    y, x = np.random.default_rng(seed).integers(0, 200, 2)
    return land(256, 256, seed=seed, patch=(y, x, 40, 40), cell=32, spread=25)


IMAGES = [scene(i) for i in range(18)]


@pytest.fixture(scope="module")
def scorer():
    return train_scorer(IMAGES, encoder()[0], goal="balanced", budget=BUDGET, crop=CROP)


def seen(scorer=None, *, goal="balanced", model=None, image=99, **given):
    model, shown = model or encoder()
    budget = given.pop("budget", BUDGET)
    return look(
        scene(image), model, goal=goal, budget=budget, crop=CROP, scorer=scorer, **given
    ), shown  # fmt: skip


def test_the_passes_of_the_robustness_are_saved(scorer):
    (measured, shown), (with_it, fewer) = seen(robust=True), seen(scorer)
    crops = len(measured.result.state.tiles)
    assert (measured.passes, len(shown.images)) == (1 + 2 * crops, 1 + 2 * crops)
    assert (with_it.passes, len(fewer.images)) == (1 + crops, 1 + crops)
    assert with_it.goal.weights.robustness == measured.goal.weights.robustness > 0
    scores = with_it.result.state.scorer
    assert np.isfinite(scores.singles).all()
    # Nothing is left out, and no distribution is made.
    assert scores.density is None
    assert "_without_one" not in vars(scores)
    assert "trained scorer" in with_it.notes[0]


def test_the_order_is_predicted_on_unseen_images(scorer):
    worth = scorer.measures
    assert worth["images"] == 4
    assert worth["spearman"] > 0.5
    assert worth["recall"] > 2 * worth["recall_chance"]
    assert worth["passes"] < 0.6 * worth["passes_engine"]


def test_a_planted_object_is_found_with_half_of_the_passes():
    worth = train_scorer(IMAGES, encoder()[0], goal="rare", budget=BUDGET, crop=CROP).measures
    assert worth["recall"] > 4 * worth["recall_chance"]
    assert worth["regions_shared"] > 4 * worth["area_share"]
    assert worth["passes"] < 0.6 * worth["passes_engine"]


def test_what_is_stored_gives_the_same_scores(scorer, tmp_path):
    scorer.save(tmp_path / "model")
    again = LearnedScorer.load(tmp_path)
    assert again.fingerprint == scorer.fingerprint
    assert again.measures == scorer.measures
    (first, _), (second, _) = seen(scorer), seen(tmp_path)
    assert first.windows == second.windows
    np.testing.assert_array_equal(
        first.result.state.scorer.singles, second.result.state.scorer.singles
    )
    with pytest.raises(DataError, match="does not contain a scorer"):
        LearnedScorer.load(tmp_path / "none")


def test_another_encoder_is_refused(scorer):
    with pytest.raises(DataError, match=r"scorer was fitted to .*'colours'.*input size"):
        seen(scorer, model=encoder((64, 64)))
    with pytest.raises(DataError, match="scorer was fitted"):
        seen(scorer, model=colour_model(size=(32, 32)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"goal": "rare"}, "the goal 'balanced', and a look for 'rare'"),
        ({"mode": "window"}, "the mode 'zoom', and a look for 'window'"),
        ({"robust": True}, "--robust with a scorer"),
        ({"head": Probe(("a", "b"), np.ones((2, 6), np.float32), np.zeros(2, np.float32))},
         "the question"),
    ],
)  # fmt: skip
def test_looks_of_another_task_raise(scorer, given, message):
    with pytest.raises(ParameterError, match=message):
        seen(scorer, **given)


def test_other_forms_of_the_goal_are_refused(scorer):
    from foveate.focus import GOALS

    goal = GOALS["balanced"].with_options(weights={"synergy": 0.1})
    with pytest.raises(ParameterError, match=r"forms of the goal.*'synergy': 0.8.*'synergy': 0.1"):
        seen(scorer, goal=goal)


def test_another_probe_of_the_same_names_is_refused():
    model = colour_model(size=(32, 32))[0]
    head = colour_head()
    scorer = train_scorer(
        IMAGES[:3], model, head=head, budget=BUDGET, crop=64, settings=replace(SHORT, epochs=1)
    )
    other = replace(head, weight=head.weight[::-1])
    question = make_question(model, head=other)
    with pytest.raises(ParameterError, match="another probe"):
        look(IMAGES[0], model, head=other, scorer=scorer, crop=64)
    assert question.head.names == head.names
    look(IMAGES[0], model, head=head, scorer=scorer, crop=64, budget=BUDGET)


SHORT = replace(PRESETS["default"], epochs=2)


def test_other_cells_are_noted():
    scorer = train_scorer(
        IMAGES[:3], encoder()[0], goal="balanced", budget=BUDGET, crop=64, settings=SHORT
    )
    found, _ = seen(scorer)
    assert any("crop 64, in this look 32" in note for note in found.notes)


def test_the_papers_optimiser_is_a_preset():
    paper = PRESETS["paper"]
    assert (paper.optimiser, paper.learning_rate, paper.weight_decay) == ("adam", 0.1, 1e-4)
    assert paper.betas == (0.8, 0.999)
    settings = replace(paper, epochs=2)
    scorer = train_scorer(
        IMAGES[:5], encoder()[0], goal="balanced", budget=BUDGET, crop=64, settings=settings
    )
    assert np.isfinite(scorer.measures["spearman"])


def test_a_score_without_a_weight_is_not_learnt():
    scorer = train_scorer(
        IMAGES[:3], encoder()[0], goal="rare", budget=BUDGET, crop=64, robust=False, settings=SHORT
    )
    assert scorer.about["measured"] == [True, False, False, True]
    found, _ = seen(scorer, goal="rare")
    assert np.isnan(found.result.state.scorer.singles[:, 1:3]).all()
    assert found.goal.weights.robustness == 0


def test_images_are_split_without_overlap():
    for count in (3, 4, 10, 57):
        split = Split.draw(count, 1)
        parts = (split.train, split.val, split.test)
        assert all(parts)
        assert sorted(sum(parts, ())) == list(range(count))
    with pytest.raises(DataError, match="2 images to train a scorer on"):
        Split.draw(2, 0)


def test_shared_area_by_hand():
    first = [Window(0, 0, 4, 4), Window(10, 10, 2, 2)]
    second = [Window(2, 2, 4, 4), Window(10, 10, 8, 8)]
    assert shared_area(first, second) == pytest.approx((4 + 4) / 20)
