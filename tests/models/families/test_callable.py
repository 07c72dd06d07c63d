"""Any function as a model, and what it must return."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from foveate.errors import DataError, MissingCapabilityError, ParameterError
from foveate.models import Question, TextSpec, TokenSpec, capabilities, from_callable
from foveate.models.capabilities import need
from foveate.models.families.callable import from_answers
from foveate.testing import check_model

BATCH = np.random.default_rng(0).integers(0, 255, (3, 2, 8, 8), np.uint8)


def model(function, dim=2, **options):
    return from_callable(function, name="mine", dim=dim, bands=(1, 2), fingerprint="v1", **options)


def test_the_function_gets_raw_pixels_and_the_result_is_float32():
    seen = []

    def function(batch):
        seen.append(batch)
        return batch.mean(axis=(2, 3))

    x = model(function).embed(BATCH)
    assert x.dtype == np.float32
    assert seen[0].dtype == np.uint8
    np.testing.assert_array_equal(seen[0], BATCH)


@pytest.mark.parametrize(
    "result", [np.zeros((3, 5)), np.zeros(3), np.zeros((2, 2)), np.zeros((3, 2, 1)), 0.0]
)
def test_a_wrong_shape_says_what_is_expected(result):
    with pytest.raises(DataError, match=r"'mine' returned shape .* batch of 3.*\(3, 2\)"):
        model(lambda _: result).embed(BATCH)


def test_the_input_size_is_what_the_function_sees():
    shapes = []

    def function(batch):
        shapes.append((batch.shape, batch.dtype))
        return batch.mean(axis=(2, 3))

    x = model(function, input_size=(4, 6)).embed(BATCH)
    assert shapes == [((3, 2, 4, 6), np.uint8)]
    np.testing.assert_allclose(x, BATCH.mean(axis=(2, 3)), rtol=0.2)


def test_other_bands_than_promised_are_refused():
    with pytest.raises(DataError, match=r"Expected \(b, 2, h, w\), bands 1, 2"):
        model(lambda batch: batch.mean(axis=(2, 3))).embed(BATCH[:, :1])


def test_the_spec_says_where_the_model_comes_from():
    spec = model(lambda batch: batch, input_size=(4, 4), licence="MIT").spec
    assert (spec.name, spec.source, spec.fingerprint) == ("mine", "callable", "v1")
    assert (spec.input_size, spec.licence, spec.bands) == ((4, 4), "MIT", (1, 2))


# --- further capabilities ------------------------------------------------------------------

TOKENS = TokenSpec(2, "embedding", pooled=True)
TEXTS = TextSpec(10.0, 0.0, "cosine", 8)


def means(batch):
    return batch.mean(axis=(2, 3))


def places(batch):
    """Means of the four quarters; of an odd side, the middle counts twice."""
    h, w = batch.shape[2:]
    rows, columns = (
        (slice(0, -(-h // 2)), slice(h // 2, h)),
        (slice(0, -(-w // 2)), slice(w // 2, w)),
    )
    cells = [[batch[:, :, y, x].mean(axis=(2, 3)) for x in columns] for y in rows]
    return np.array(cells).transpose(2, 0, 1, 3)


def letters(texts):
    words = [text.split()[:8] for text in texts]
    return [[sum(map(len, w)), 1 + sum(ord(c) for word in w for c in word)] for w in words]


def answer(question, max_tokens):
    return f"{len(question.images)} images, {len(question.prompt)} letters"[: max_tokens * 4]


def answer_loss(question, given):
    return float(np.abs(question.images[0].mean() / 255 - len(given) / 10))


def inside(batch, boxes):
    """A box is its mask; its brightness is its quality."""
    y, x = np.mgrid[: batch.shape[2], : batch.shape[3]] + 0.5
    x0, y0, x1, y1 = np.moveaxis(boxes, 2, 0)[..., None, None]
    masks = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    values = (masks * batch.mean(axis=1)[:, None]).sum(axis=(2, 3)) / masks.sum(axis=(2, 3))
    return masks, values / 255


ALL = {
    "tokens": {"tokens": places, "token_spec": TOKENS},
    "text": {"embed_text": letters, "text_spec": TEXTS},
    "answers": {"answer": answer},
    "answer_loss": {"answer_loss": answer_loss},
    "masks": {"segmenter": inside},
}


@pytest.mark.parametrize("given", [(), ("masks",), ("tokens", "text"), tuple(ALL)])
def test_it_can_what_it_was_given(given):
    options = {key: value for name in given for key, value in ALL[name].items()}
    mine = model(means, **options)
    assert capabilities(mine) == ("embed", *given)
    check_model(mine, tolerance=1e-6)


def test_it_can_the_same_in_another_process():
    mine = pickle.loads(pickle.dumps(model(means, **ALL["masks"])))  # noqa: S301
    assert capabilities(mine) == ("embed", "masks")
    assert mine.segment(BATCH, np.full((3, 1, 4), [1, 1, 4, 4])).sum() == 27


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": places}, "tokens without token_spec"),
        ({"token_spec": TOKENS}, "token_spec without tokens"),
        ({"embed_text": letters}, "embed_text without text_spec"),
        ({"answer_loss": answer_loss}, "answer_loss without answer"),
    ],
)
def test_half_a_capability(options, message):
    with pytest.raises(ParameterError, match=message):
        model(means, **options)


def test_tokens_of_another_shape():
    flat = model(means, tokens=means, token_spec=TOKENS)
    with pytest.raises(DataError, match=r"tokens of 'mine' .*Expected \(3, gh, gw, 2\)"):
        flat.tokens(BATCH)


@pytest.mark.parametrize("result", [np.ones((1, 3)), np.zeros((1, 2)), np.ones(2)])
def test_texts_of_another_shape(result):
    mine = model(means, embed_text=lambda _: result, text_spec=TEXTS)
    with pytest.raises(DataError, match=r"texts of 'mine' .*Expected \(1, 2\)"):
        mine.embed_text(["water"])


def test_logits_are_no_masks():
    mine = model(means, segmenter=lambda b, x: (inside(b, x)[0] * 2.0 - 1, inside(b, x)[1]))
    with pytest.raises(DataError, match=r"Expected masks \(3, 1, 8, 8\) bool.*logits > 0"):
        mine.segment(BATCH, np.full((3, 1, 4), [1, 1, 4, 4]))


def test_a_segmenter_gets_tiles_of_their_own_size():
    shapes = []

    def segmenter(batch, boxes):
        shapes.append((batch.shape, boxes.dtype))
        return inside(batch, boxes)

    mine = model(means, input_size=(4, 4), segmenter=segmenter)
    mine.mask_quality(BATCH, np.full((3, 1, 4), [1, 1, 8, 8]))
    assert shapes == [((3, 2, 8, 8), np.float32)]


def test_a_model_that_only_answers_embeds_nothing():
    mine = from_answers(answer, name="api", bands=(1, 2), fingerprint="v1", answer_loss=answer_loss)
    asked = [Question([BATCH[0]], "What is it?")]
    assert capabilities(mine) == ("answers", "answer_loss")
    check_model(mine)
    assert mine.generate(asked) == ["1 images, 11 letters"]
    assert mine.answer_loss(asked, ["a road"]).shape == (1,)
    with pytest.raises(
        MissingCapabilityError,
        match=r"api does not have the capability 'embed'.*Its capabilities: answers",
    ):
        need(mine, "embed")


def test_an_api_without_likelihoods_refuses_to_judge():
    mine = from_answers(answer, name="api", bands=(1, 2), fingerprint="v1")
    asked = [Question([BATCH[0]], "What is it?")]
    assert mine.generate(asked, max_tokens=2) == ["1 images"]
    assert capabilities(mine) == ("answers",)
    with pytest.raises(MissingCapabilityError, match=r"capability 'answer_loss'.*answer_loss="):
        need(mine, "answer_loss")


@pytest.mark.parametrize("loss", [-0.5, np.nan, np.inf])
def test_losses_that_are_none(loss):
    mine = from_answers(
        answer, name="api", bands=(1, 2), fingerprint="v1", answer_loss=lambda *_: loss
    )
    with pytest.raises(DataError, match="'api' returned the losses"):
        mine.answer_loss([Question([BATCH[0]], "What is it?")], ["a road"])


def test_what_only_answers_cannot_embed_a_pool():
    from foveate.grid import Grid
    from foveate.models import embed
    from foveate.pool import Pool, Scene
    from foveate.raster import ArraySource

    source = ArraySource(np.zeros((2, 8, 8), np.uint8))
    tiles = Grid(source.info.shape, 8).tiles("s")
    pool = Pool(ids=tiles.tile_id, scenes=(Scene("s", source),), tiles=tiles)
    mine = from_answers(answer, name="api", bands=(1, 2), fingerprint="v1")
    with pytest.raises(MissingCapabilityError, match="capability 'embed'"):
        embed(pool, mine)
