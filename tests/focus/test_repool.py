"""Mode "feature" of models that pool parts: what is left out is left out, at no further pass."""

from __future__ import annotations

import json

import numpy as np
import pytest
from looks import colour_model, land, look

from foveate.errors import MissingCapabilityError
from foveate.focus.question import FocusQuestion, make_question
from foveate.focus.repool import check_overview
from foveate.models import TokenSpec, load_model
from foveate.models.capabilities import TokenSums
from foveate.models.heads import TextHead
from foveate.models.load import FAMILIES

GRID = 8


class Attends:
    """One head over the mean colours of 8 x 8 blocks, and a class token that is always a key."""

    token_spec = TokenSpec(3, "backbone")

    def __init__(self):
        model, self.shown = colour_model(size=(64, 64), tokens=GRID, space="backbone")
        self._colours, self.spec = model.tokens, model.spec

    def embed(self, batch):
        return np.concatenate([self.part(of, np.ones((1, GRID, GRID))) for of in self.sums(batch)])

    def tokens(self, batch):
        return self._colours(batch)

    def token_sums(self, batch):
        self.seen = self.sums(batch)
        return self.seen

    def sums(self, batch):
        found = []
        for colours in self._colours(batch):
            e = np.exp(3 * colours[:, :, :1])  # red attracts
            terms = np.concatenate([e, e * colours], axis=2).astype(np.float32)
            always = np.array([2.0, 0.2, 0.4, 0.6], np.float32)
            found.append(TokenSums(terms, always, colours.astype(np.float32), np.zeros(1)))
        return found

    def pool_sums(self, sums, of):
        return (sums[:, 1:] / sums[:, :1]).astype(np.float32)

    def part(self, of, keep):
        return self.pool_sums(np.einsum("mhw,hwq->mq", keep, of.terms) + of.always, of)


IMAGE = land(128, 128, seed=1, patch=(16, 32, 32, 32))
HEAD = TextHead(("red", "green", "blue"), np.eye(3, dtype=np.float32), 20.0, 0.0, "cosine")


def feature(model, **given):
    question = FocusQuestion(HEAD, "red", 0)
    return look(IMAGE, model, goal="query", question=question, mode="feature", **given)


def test_a_look_costs_the_overview_and_nothing_else():
    model = Attends()
    found = feature(model, robust=False)
    assert (found.passes, len(model.shown.images)) == (1, 1)
    assert "masked" in found.removal
    first = found.windows[0]
    assert 0 <= first.y < 48
    assert 16 <= first.x < 64


def test_losses_of_parts_are_those_of_masked_keys():
    model = Attends()
    state = feature(model, robust=False).result.state
    scorer, tiles = state.scorer, state.tiles
    (of,) = model.seen
    keep = np.zeros((len(tiles), GRID, GRID))
    for i in range(len(tiles)):
        y, x, h, w = (v // (128 // GRID) for v in tiles.window(i))
        keep[i, y : y + h, x : x + w] = 1
    assert (keep.sum(axis=0) == 1).all()

    def losses(masks):
        return -np.log(HEAD.probabilities(model.part(of, masks))[:, 0])

    near = {"rtol": 1e-4, "atol": 1e-6}
    everything = np.ones((1, GRID, GRID))
    np.testing.assert_allclose(scorer.model.whole, losses(everything)[0], **near)
    np.testing.assert_allclose(
        scorer.model.of(np.eye(len(tiles), dtype=bool)), losses(keep), **near
    )
    np.testing.assert_allclose(
        scorer.model.without(np.eye(len(tiles), dtype=bool)), losses(1 - keep), **near
    )
    pairs = np.zeros((1, len(tiles)), bool)
    pairs[0, [0, 3]] = True
    np.testing.assert_allclose(
        scorer.model.without(pairs, np.array([5])), losses(1 - keep[[0, 3, 5]].sum(0)[None]), **near
    )


def test_the_overview_is_the_embedding():
    model = Attends()
    found = feature(model, robust=False)
    chance = HEAD.probabilities(model.embed(IMAGE[None]))[0, 0]
    assert found.full_fit == pytest.approx(chance, rel=1e-5)


def test_robustness_takes_one_more_view():
    found = feature(Attends(), robust=True)
    assert found.passes == 2  # it takes no smaller input
    assert np.isfinite(found.result.state.scorer.singles[:, 2]).all()


def test_pixels_without_data_are_no_keys():
    valid = np.ones((128, 128), bool)
    valid[:64] = False
    model = Attends()
    state = feature(model, robust=False, valid=valid).result.state
    assert (state.tiles.y >= 64).all()
    (of,) = model.seen
    keep = np.zeros((1, GRID, GRID))
    keep[:, GRID // 2 :] = 1
    expected = -np.log(HEAD.probabilities(model.part(of, keep))[0, 0])
    assert state.scorer.model.whole == pytest.approx(expected, rel=1e-4)


def test_models_without_either_capability_raise():
    backbone = colour_model(tokens=4, space="backbone")[0]
    check_overview(backbone, classes=False)
    check_overview(Attends(), classes=True)
    with pytest.raises(MissingCapabilityError, match=r"the mean of.*--mode zoom"):
        check_overview(backbone, classes=True)
    with pytest.raises(MissingCapabilityError, match="feature"):
        check_overview(colour_model()[0], classes=False)


def test_clip_of_open_clip_looks_in_mode_feature(tmp_path):
    pytest.importorskip("open_clip")
    text = {"context_length": 16, "width": 32, "heads": 4, "layers": 2}
    vision = {"image_size": 64, "patch_size": 8, "layers": 2, "width": 32, "head_width": 8}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "config.json").write_text(json.dumps(config))
    handle = load_model(f"open_clip:{tmp_path / 'config.json'}@random", device="cpu")
    model = FAMILIES.get("open_clip").build(handle, (1, 2, 3), ((0.0, 255.0),) * 3)
    question = make_question(model, labels=["red roof", "green land", "water"])
    found = look(IMAGE, model, goal="balanced", question=question, mode="feature")
    assert found.passes == pytest.approx(1 + (16 / 64) ** 2)
    whole = model.embed(IMAGE[None])
    expected = question.head.probabilities(whole)[0]
    assert found.predictions["full"].probability == pytest.approx(expected.max(), rel=1e-4)
    assert found.prediction in question.head.names
