"""Representativeness and robustness of regions that are judged by answers or masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from looks import land

from foveate.budget import Ledger
from foveate.errors import BudgetError
from foveate.focus import importance as eq
from foveate.focus.ask import ask_image
from foveate.focus.config import GOALS, FocusConfig, SearchConfig
from foveate.focus.encode import CropEncoder
from foveate.focus.segment import segment_image
from foveate.focus.views import _at_most, plan_views
from foveate.focus.vlm import Inquiry
from foveate.grid import Window
from foveate.models import bind, from_answers, from_callable, load_model
from foveate.models.capabilities import GivesTokens
from foveate.models.heads import unit
from foveate.pool.folder import open_pool
from foveate.raster import ArraySource, write_cog
from foveate.testing.tiny import tiny_model

pytest.importorskip("transformers")

IMAGE = land(128, 128, patch=(70, 40, 20, 20))
KINDS = ("hf_llava", "hf_qwen2_vl", "hf_blip2", "hf_sam")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Build tiny models by kind, each once, with the images that their methods are given."""
    image = tmp_path_factory.mktemp("image") / "image.tif"
    write_cog(image, IMAGE)
    pool, made = open_pool([image], split=(1, 1)), {}

    def one(kind):
        if kind not in made:
            name, weights = tiny_model(kind, tmp_path_factory.mktemp(kind))
            made[kind] = bind(load_model(name, weights=weights, bands=[1, 2, 3]), pool)
        return made[kind]

    return one


def counted(model, monkeypatch):
    """Record every image that a model is shown, by method."""
    seen = {}

    def watch(name, images_of):
        method = getattr(model, name)

        def call(*given, **more):
            seen.setdefault(name, []).extend(images_of(given[0]))
            return method(*given, **more)

        monkeypatch.setattr(model, name, call, raising=False)

    for name in ("embed", "tokens", "mask_quality", "segment"):
        if hasattr(model, name):
            watch(name, list)
    for name in ("generate", "answer_loss"):
        if hasattr(model, name):
            watch(name, lambda questions: [i for q in questions for i in q.images])
    return seen


def run(model, goal="balanced", **config):
    given = {"cells": 4, "crop": 32, "passes": 60.0, "search": SearchConfig(regions=2)} | config
    if hasattr(model, "answer_loss"):
        return ask_image(ArraySource(IMAGE), model, Inquiry("What is there?", max_tokens=4),
                         FocusConfig(GOALS[goal], **given))  # fmt: skip
    return segment_image(ArraySource(IMAGE), model, FocusConfig(GOALS[goal], **given))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("goal", ["balanced", "paper"])
def test_all_four_scores_are_computed_and_every_pass_is_booked(kind, goal, build, monkeypatch):
    model = build(kind)
    seen = counted(model, monkeypatch)
    done = run(model, goal)
    singles = done.result.state.scorer.singles
    assert np.isfinite(singles).all()
    assert singles[:, 1:].min() >= 0
    assert singles[:, 1:].max() <= 1
    assert np.unique(singles[:, 2]).size > 1
    assert done.work.images == sum(map(len, seen.values()))
    assert "embed" not in seen
    assert len(seen["tokens"]) == 2
    size = model.spec.input_size or (128, 128)
    assert done.passes == pytest.approx(
        sum(
            1.0 if model.spec.input_size else i.shape[1] * i.shape[2] / (size[0] * size[1])
            for images in seen.values() for i in images
        )
    )  # fmt: skip
    (note,) = [n for n in done.stored().notes if n.startswith("Representativeness")]
    assert note == "Representativeness and robustness computed from the tokens of one overview."
    assert done.stored().goal.weights == GOALS[goal].weights
    assert done.stored().goal.utility == GOALS[goal].utility


def test_the_scores_are_those_of_the_tokens_under_each_cell(build):
    model = build("hf_sam")  # 8 x 8 tokens of the overview, 2 x 2 a cell
    done = run(model, mode="feature", search=SearchConfig(regions=2, depth=0))
    state = done.result.state
    encoder = CropEncoder(ArraySource(IMAGE), model, Ledger({}))
    whole = Window(0, 0, 128, 128)
    tokens, moved = encoder.tokens(whole), encoder.tokens(whole, disturbed=True)

    def means(grid):
        return unit(grid.reshape(4, 2, 4, 2, -1).mean(axis=(1, 3)).reshape(16, -1))

    shift = np.linalg.norm(means(tokens) - means(moved), axis=1)
    assert state.scorer.singles[:, 2] == pytest.approx(eq.robustness(shift), abs=1e-5)
    words = state.scorer.density.counts
    assert words.sum(axis=1) == pytest.approx(np.full(16, 4 * words.sum() / 64))


def test_a_score_without_weight_takes_no_pass(build, monkeypatch):
    model = build("hf_sam")
    seen = counted(model, monkeypatch)
    run(model, mode="feature", robust=False)
    assert len(seen.pop("tokens")) == 1
    goal = GOALS["balanced"].with_options(weights={"representativeness": 0})
    segment_image(ArraySource(IMAGE), model, FocusConfig(goal, mode="feature", robust=False))
    assert "tokens" not in seen


def embedding_only(*, answers):
    """Return a model without tokens, and the images that its functions are given."""
    seen = {"embed": [], "other": []}

    def colours(batch):
        seen["embed"].extend(batch)
        return batch.mean(axis=(2, 3), dtype=np.float32)

    def segmenter(batch, boxes):
        seen["other"].extend(batch)
        masks = np.zeros((*boxes.shape[:2], *batch.shape[2:]), bool)
        return masks, np.full(boxes.shape[:2], 0.5, np.float32)

    def answer(question, _):
        seen["other"].extend(question.images)
        return "land"

    def loss(question, _):
        seen["other"].extend(question.images)
        return float(question.images[0].mean()) / 255

    able = {"answer": answer, "answer_loss": loss} if answers else {"segmenter": segmenter}
    model = from_callable(colours, name="own", dim=3, bands=(1, 2, 3), fingerprint="1",
                          input_size=(32, 32), **able)  # fmt: skip
    return model, seen


@pytest.mark.parametrize(("answers", "mode"), [(True, "zoom"), (False, "zoom"), (False, "feature")])
def test_without_tokens_the_cells_are_embedded_on_demand(answers, mode):
    model, seen = embedding_only(answers=answers)
    assert not isinstance(model, GivesTokens)
    plain = run(model, mode=mode)
    assert not seen["embed"]
    assert np.isnan(plain.result.state.scorer.singles[:, 1:3]).all()
    assert any("--robust" in note for note in plain.notes)
    for more in ({"robust": True}, {"goal": "paper"}):
        for images in seen.values():
            images.clear()
        done = run(model, mode=mode, **more)
        assert np.isfinite(done.result.state.scorer.singles).all()
        assert done.passes == done.work.images == sum(map(len, seen.values()))
        assert done.passes <= 60
        assert len(seen["embed"]) >= 2 * len(done.result.state.tiles)
    assert plan_views(model, FocusConfig(GOALS["paper"])).each == 2


def test_a_model_that_does_not_embed_is_noted():
    model = from_answers(lambda *_: "land", name="api", bands=(1, 2, 3), fingerprint="1",
                         answer_loss=lambda q, _: float(q.images[0].mean()) / 255)  # fmt: skip
    done = run(model, "paper")
    assert np.isnan(done.result.state.scorer.singles[:, 1:3]).all()
    assert any(note.endswith("not computed: api does not embed.") for note in done.notes)
    weights = done.stored().goal.weights
    assert (weights.representativeness, weights.robustness) == (0, 0)


@pytest.mark.parametrize("kind", ["hf_llava", "hf_sam"])
def test_a_budget_counts_the_overview_of_the_features(kind, build):
    with pytest.raises(BudgetError, match=r"features.*Type --passes") as caught:
        run(build(kind), passes=5.0, mode="zoom")
    enough = float(caught.value.hint.split("--passes ")[1].split(",")[0].rstrip("."))
    assert run(build(kind), passes=enough, mode="zoom").passes <= enough


@given(
    arrays(np.float32, st.tuples(*[st.integers(1, 150)] * 2, st.just(2)),
           elements=st.floats(-9, 9, width=16))
)  # fmt: skip
def test_fine_tokens_are_averaged_in_equal_blocks(tokens):
    found = _at_most(tokens)
    means = [x.mean(axis=(0, 1), dtype=np.float64) for x in (found, tokens)]
    assert means[0] == pytest.approx(means[1], abs=1e-5 * float(np.abs(tokens).max()))
    for have, had in zip(found.shape[:2], tokens.shape[:2], strict=True):
        assert had % have == 0
        assert have <= 32 or have == had
        assert have == had or had > 32
