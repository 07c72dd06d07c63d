"""A model that can do everything passes the suite; one thing broken, and the suite names it."""

from __future__ import annotations

import copy
import zlib
from dataclasses import replace

import numpy as np
import pytest

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError, ParameterError
from foveate.models import TextSpec, TokenSpec, capabilities
from foveate.models.preprocess import read_size
from foveate.raster import resize
from foveate.testing import CheckFailed, check_model

BLOCK = 8


def refuse_unless(fine, what):
    if not fine:
        raise DataError(what)


class Able:
    """Everything that a model can do, in numpy: means of pixels, words and boxes."""

    spec = EncoderSpec(
        name="able", dim=6, bands=(1, 2, 3), source="numpy", fingerprint="1", non_negative=True
    )
    token_spec = TokenSpec(6, "embedding", pooled=True)
    text_spec = TextSpec(scale=10.0, bias=0.0, head="cosine", context=5)
    size_step = BLOCK

    def at_size(self, side):
        other = copy.copy(self)
        other.spec = replace(self.spec, input_size=read_size(side, BLOCK, "able"))
        return other

    def blocks(self, batch):
        refuse_unless(batch.ndim == 4 and batch.shape[1] == 3, "other bands")
        if self.spec.input_size is not None:
            size = self.spec.input_size
            bands = batch.astype(np.float32).reshape(-1, *batch.shape[2:])
            batch = np.stack([resize(band, size) for band in bands]).reshape(-1, 3, *size)
        b, c, h, w = batch.shape
        x = batch.astype(np.float64).reshape(b, c, h // BLOCK, BLOCK, w // BLOCK, BLOCK) / 255
        x = np.concatenate([x.mean(axis=(3, 5)), (x**2).mean(axis=(3, 5))], axis=1)
        return np.moveaxis(x, 1, -1).astype(np.float32)

    def tokens(self, batch):
        return self.blocks(batch)

    def embed(self, batch):
        return self.blocks(batch).mean(axis=(1, 2), dtype=np.float64).astype(np.float32)

    def embed_text(self, texts):
        fine = not isinstance(texts, str) and texts and all(isinstance(t, str) for t in texts)
        refuse_unless(fine, "no texts")
        return np.stack([self.vector(text.split()[: self.text_spec.context]) for text in texts])

    def vector(self, words):
        draws = [np.random.default_rng(zlib.crc32(word.encode())).normal(size=6) for word in words]
        return (np.sum(draws, axis=0) / np.linalg.norm(np.sum(draws, axis=0))).astype(np.float32)

    def generate(self, questions, *, max_tokens=64):
        return [" ".join(self.answer(question).split()[:max_tokens]) for question in questions]

    def answer(self, question):
        refuse_unless(question.images and all(len(i) == 3 for i in question.images), "no images")
        return f"{len(question.images)} images of {self.brightness(question):.3f}"

    def brightness(self, question):
        return float(np.mean([image.mean() for image in question.images]))

    def answer_loss(self, questions, answers):
        refuse_unless(len(questions) == len(answers), "other answers")
        pairs = zip(questions, answers, strict=True)
        return np.array([self.brightness(q) / len(a) for q, a in pairs], np.float32)

    def mask_quality(self, batch, boxes):
        share = Able.segment(self, batch, boxes).mean(axis=(2, 3))
        return (share * batch.mean(axis=(1, 2, 3))[:, None] / 255).astype(np.float32)

    def segment(self, batch, boxes):
        refuse_unless(batch.ndim == 4 and batch.shape[1] == 3, "other bands")
        b, _, h, w = batch.shape
        fine = boxes.ndim == 3 and boxes.shape[0] == b and boxes.shape[1] and boxes.shape[2] == 4
        refuse_unless(fine, "no boxes")
        x0, y0, x1, y1 = (boxes[:, :, i, None, None] for i in range(4))
        refuse_unless(((x1 > x0) & (y1 > y0) & (x0 < w) & (y0 < h)).all(), "no area")
        y, x = np.mgrid[:h, :w]
        return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)


def test_a_model_that_can_do_everything_passes():
    able = ("embed", "tokens", "text", "answers", "answer_loss", "masks", "sizes")
    assert capabilities(Able()) == able
    check_model(Able())


def test_a_model_of_one_size_that_takes_others_passes():
    check_model(Able().at_size((40, 64)))


# --- one thing broken ----------------------------------------------------------------------


def broken(**parts):
    """Return the able model with some of its attributes replaced."""
    return type("Broken", (Able,), parts)()


def of_the_batch(name, share=0.01):
    """Return a method whose results depend a little on the batch."""

    def method(self, *given):
        found = getattr(Able, name)(self, *given)
        return found + (share * found.mean(axis=0)).astype(found.dtype)

    return method


def then(name, change):
    """Return a method that changes what the able model returns."""
    return lambda self, *given, **options: change(getattr(Able, name)(self, *given, **options))


def swallow(name, instead):
    """Return a method that refuses nothing."""

    def method(self, *given, **options):
        try:
            return getattr(Able, name)(self, *given, **options)
        except (DataError, ParameterError):
            return instead

    return method


def embed_words(words_of):
    """Return a method that embeds the words which a function takes from a text."""

    def embed_text(self, texts):
        Able.embed_text(self, texts)  # refuses what must be
        return np.stack([self.vector(words_of(text)) for text in texts])

    return embed_text


def only_strings(self, texts):
    return np.stack([self.vector(str(text).split()[:5]) for text in texts or ["none"]])


TOKENS = {
    "flipped": ({"tokens": then("tokens", lambda x: x[:, ::-1])}, "row-major and north-up"),
    "mirrored": ({"tokens": then("tokens", lambda x: x[:, :, ::-1])}, "row-major and north-up"),
    "transposed": (
        {"tokens": then("tokens", lambda x: x.swapaxes(1, 2))}, "row-major|not have the shape",
    ),
    "rotated": ({"tokens": then("tokens", lambda x: x[:, ::-1, ::-1])}, "row-major"),
    "in a row": (
        {"tokens": then("tokens", lambda x: x.reshape(len(x), 1, -1, 6))}, "not have the shape",
    ),
    "flat": ({"tokens": then("tokens", lambda x: x.reshape(len(x), -1, 6))}, "gh, gw, d"),
    "of the batch": ({"tokens": of_the_batch("tokens", 1e-3)}, "other images of the batch"),
    "wide": ({"token_spec": TokenSpec(5, "backbone")}, "must return an array"),
    "elsewhere": (
        {"token_spec": TokenSpec(3, "embedding"), "tokens": then("tokens", lambda x: x[..., :3])},
        "not in the space",
    ),
    "not pooled": (
        {"tokens": then("tokens", lambda x: x + x[:, :1])}, "mean of the tokens is not the vector",
    ),
    "double": ({"tokens": then("tokens", lambda x: x.astype(float))}, "must return float32"),
    "undefined": ({"tokens": then("tokens", lambda x: x * np.float32(np.nan))}, "NaN"),
    "unasked": (
        {"tokens": lambda self, x: Able.tokens(self, x[:, [0, 0, 0]])}, "mean|must be rejected",
    ),
}  # fmt: skip
TEXTS = {
    "long": ({"embed_text": then("embed_text", lambda x: 2 * x)}, "norm 1"),
    "of the batch": ({"embed_text": of_the_batch("embed_text", 1e-5)}, "the other texts"),
    "reversed": ({"embed_text": then("embed_text", lambda x: x[::-1])}, "the other texts"),
    "uncut": ({"embed_text": embed_words(str.split)}, "words beyond it have an effect"),
    "spaced": ({"embed_text": embed_words(lambda text: text.split(" ")[:5])}, "spaces"),
    "one for all": (
        {"vector": lambda self, words: np.eye(6, dtype=np.float32)[0]}, "same vector",
    ),
    "of letters": ({"embed_text": only_strings}, "an empty list of texts must be rejected"),
    "short": ({"embed_text": then("embed_text", lambda x: x[:, :5])}, "must return an array"),
    "cold": ({"text_spec": TextSpec(0.0, 0.0, "cosine", 5)}, "scale 0"),
    "biased": ({"text_spec": TextSpec(1.0, -3.0, "cosine", 5)}, "has no bias"),
    "headless": ({"text_spec": TextSpec(1.0, 0.0, "softmax", 5)}, "head is 'softmax'"),
}  # fmt: skip
ANSWERS = {
    "one": ({"generate": then("generate", " ".join)}, "one text per question"),
    "drawn": ({"brightness": lambda self, q: np.random.default_rng().normal()}, "second call"),
    "numbered": (
        {"generate": lambda self, questions, **options: [
            f"{i} {answer}" for i, answer in enumerate(Able.generate(self, questions, **options))
        ]},
        "depends on the other questions",
    ),
    "negative": ({"answer_loss": then("answer_loss", np.negative)}, "is negative"),
    "of the batch": ({"answer_loss": of_the_batch("answer_loss")}, "other questions"),
    "deaf": (
        {"answer_loss": lambda self, q, a: Able.answer_loss(self, q, ["yes" for _ in a])},
        "does not depend on the answer",
    ),
    "blind": (
        {"answer_loss": lambda self, q, a: np.array([1 / len(text) for text in a], np.float32)},
        "does not depend on the image",
    ),
    "fewer": (
        {"answer_loss": swallow("answer_loss", np.zeros(1, np.float32))},
        "another number of answers than questions must be rejected",
    ),
    "no image": ({"generate": swallow("generate", [""])}, "an image of one band must be rejected"),
}  # fmt: skip
MASKS = {
    "doubtful": ({"mask_quality": then("mask_quality", lambda x: x[:, :1])}, "must return"),
    "of the batch": ({"mask_quality": of_the_batch("mask_quality")}, "other images"),
    "sorted": (
        {"mask_quality": then("mask_quality", lambda x: np.sort(x, axis=1))},
        "order of the boxes",
    ),
    "soft": ({"segment": then("segment", lambda x: x.astype(np.float32))}, "must return bool"),
    "small": ({"segment": then("segment", lambda x: x[..., ::2, ::2])}, "must return an array"),
    "in one order": (
        {"segment": lambda self, x, boxes: Able.segment(self, x, np.sort(boxes, axis=1))},
        "order of the boxes",
    ),
    "careless": (
        {"segment": swallow("segment", np.zeros((3, 3, 48, 64), bool))},
        "boxes of three numbers must be rejected",
    ),
}  # fmt: skip


class Worn(Able):
    """Counts how often its size was changed."""

    spec = replace(Able.spec, input_size=(64, 64))
    times = 0

    def at_size(self, side):
        other = super().at_size(side)
        other.times += 1
        return other


class Blurred(Worn):
    def embed(self, batch):
        return super().embed(batch) + np.float32(0.01 * (self.times > 1))


class Changing(Worn):
    def at_size(self, side):
        other = super().at_size(side)
        self.spec = other.spec
        return other


class Babel(Worn):
    def embed_text(self, texts):
        return np.roll(super().embed_text(texts), self.times, axis=1)


class Forgetful(Worn):
    def at_size(self, side):
        other = super().at_size(side)
        other.embed_text = None
        other.spec = replace(other.spec, source="elsewhere")
        return other


class Losing(Able):
    def at_size(self, side):
        other = super().at_size(side)
        return type("Less", (), {"spec": other.spec, "embed": other.embed})()


SIZES = {
    "in part of a pixel": ({"size_step": 0.5}, "whole number of pixels"),
    "of nothing": ({"at_size": swallow("at_size", Able())}, "a size of 0 must be rejected"),
    "in vain": ({"blocks": lambda self, x: Able.blocks(Able(), x)}, "not have the shape|must"),
    "square": (
        {"at_size": lambda self, side: Able.at_size(self, np.max(side).item())},
        "must change spec.input_size",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        (Blurred, "returned to its first size"),
        (Changing, "changes the model itself"),
        (Babel, "vectors of texts must not change"),
        (Forgetful, "nothing else of the spec"),
        (Losing, "same capabilities"),
    ],
)
def test_the_suite_names_what_another_size_spoils(model, rule):
    check_model(Worn())
    with pytest.raises(CheckFailed, match=rule):
        check_model(model())


def cases(*tables):
    named = zip(("tokens", "texts", "answers", "masks", "sizes"), tables, strict=True)
    return [
        pytest.param(parts, rule, id=f"{kind} {name}")
        for kind, table in named
        for name, (parts, rule) in table.items()
    ]


@pytest.mark.parametrize(("parts", "rule"), cases(TOKENS, TEXTS, ANSWERS, MASKS, SIZES))
def test_the_suite_names_the_broken_rule(parts, rule):
    with pytest.raises(CheckFailed, match=rule):
        check_model(broken(**parts))


def test_the_suite_asks_for_errors_that_a_user_can_read():
    def loud(self, texts):
        return np.stack([self.vector(text.split()[:5]) for text in texts])

    with pytest.raises(CheckFailed, match=r"must be rejected with a FoveateError.*ValueError"):
        check_model(broken(embed_text=loud))
