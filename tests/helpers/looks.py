"""Images to look at, and a model of mean colours that remembers what it was shown."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from colour_words import WORDS

from foveate.embeddings import EncoderSpec
from foveate.focus.config import GOALS, FocusConfig, SearchConfig
from foveate.focus.look import look_at
from foveate.focus.question import FocusQuestion
from foveate.models import TextSpec, TokenSpec, from_callable
from foveate.models.heads import TextHead, unit
from foveate.raster import resize
from foveate.raster.sources import ArraySource

RED = (220, 20, 20)


@dataclass
class Shown:
    """What a model was shown: images, and their pixels together."""

    images: list = field(default_factory=list)
    calls: int = 0

    @property
    def pixels(self):
        return sum(image.shape[-2] * image.shape[-1] for image in self.images)

    def note(self, batch):
        self.calls += 1
        self.images.extend(np.array(batch))


def blocks(batch, side):
    """Mean of each band in `side` x `side` blocks as equal as they can be: (b, s, s, c)."""
    x = batch.astype(np.float64)
    for axis in (2, 3):
        edges = np.linspace(0, x.shape[axis], side + 1).round().astype(int)
        parts = np.split(x, edges[1:-1], axis=axis)
        x = np.concatenate([part.mean(axis=axis, keepdims=True) for part in parts], axis=axis)
    return np.moveaxis(x, 1, 3)


def colour_model(*, size=None, tokens=None, embed=None, dim=3, space="embedding", texts=False):
    """Return a model whose embedding is the mean colour, and the record of what it is shown.

    Args:
        size: Input size, or None for any.
        tokens: Tokens along a side, or None for a model without tokens.
        embed: Another embedding, from (b, 3, h, w) to (b, dim).
        dim: Of the embedding.
        space: Of the tokens.
        texts: Whether it embeds texts: the colours of `colour_words`.
    """
    shown = Shown()

    def function(batch):
        shown.note(batch)
        if embed is not None:
            return embed(batch)
        return batch.astype(np.float64).mean(axis=(2, 3)) / 255

    def make_tokens(batch):
        shown.note(batch)
        return blocks(batch, tokens) / 255

    def embed_text(sentences):
        return np.array(
            [np.sum([WORDS[w] for w in s.split() if w in WORDS], axis=0) for s in sentences]
        )

    extra = {}
    if tokens is not None:
        spec = TokenSpec(3, space, pooled=space == "embedding")
        extra |= {"tokens": make_tokens, "token_spec": spec}
    if texts:
        spec = TextSpec(scale=20.0, bias=0.0, head="cosine", context=77)
        extra |= {"embed_text": embed_text, "text_spec": spec}
    model = from_callable(
        function, name="colours", dim=dim, bands=(1, 2, 3), fingerprint="means/1",
        input_size=size, **extra,
    )  # fmt: skip
    return model, shown


def colour_head(*, scale=20.0):
    """Return the classes red, green and blue."""
    return TextHead(("red", "green", "blue"), np.eye(3, dtype=np.float32), scale, 0.0, "cosine")


class Shares:
    """A head whose probabilities are the first two features as shares: mixtures are linear."""

    names, inputs = ("a", "b"), "raw"

    def probabilities(self, z):
        x = np.maximum(np.asarray(z, np.float64)[..., :2], 0)
        return (x / np.maximum(x.sum(-1, keepdims=True), 1e-12)).astype(np.float32)

    def logits(self, z):
        return np.log(np.maximum(self.probabilities(z), 1e-9))


def land(height, width, *, seed=0, patch=None, cell=16, spread=12):
    """Return (3, h, w) uint8: green land whose colour varies by `cell`, and a red patch.

    Args:
        height: Pixels.
        width: Pixels.
        seed: Of the colours.
        patch: ``(y, x, h, w)`` of the red patch, or None.
        cell: Size of what has one colour, pixels.
        spread: How much colours vary.
    """
    draw = np.random.default_rng(seed)
    rows, cols = -(-height // cell), -(-width // cell)
    colour = np.array([60, 120, 60])[:, None, None] + draw.normal(0, spread, (3, rows, cols))
    image = colour.repeat(cell, axis=1).repeat(cell, axis=2)[:, :height, :width]
    image = image + draw.normal(0, 4, image.shape)
    if patch is not None:
        y, x, h, w = patch
        image[:, y : y + h, x : x + w] = np.array(RED)[:, None, None]
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def look(
    image, model, *, goal="rare", question=None, valid=None, cache=None, search=None, **config
):  # fmt: skip
    """Look at an array; `search` and `config` are fields of `SearchConfig` and `FocusConfig`.

    The goal "paper" without classes gets what it then needs: a guard.
    """
    if goal == "paper" and (question is None or question.head is None):
        goal = GOALS["paper"].with_options(guard=0.05)
    goal = GOALS[goal] if isinstance(goal, str) else goal
    return look_at(
        ArraySource(image, valid), model, question or FocusQuestion(),
        FocusConfig(goal, search=SearchConfig(**(search or {})), **config), cache=cache,
    )  # fmt: skip


def red_query():
    """Return a query for red without classes."""
    return FocusQuestion(query="red", text=unit(np.array(WORDS["red"], np.float32)))


def cover(tiles, shape):
    """Return how many cells lie on each pixel: (h, w)."""
    count = np.zeros(shape, int)
    for y, x, h, w in zip(tiles.y, tiles.x, tiles.h, tiles.w, strict=True):
        count[y : y + h, x : x + w] += 1
    return count


class Sized:
    """Mean colours at an input size, which can be another one."""

    size_step = 4

    def __init__(self, side, shown=None):
        self.spec = EncoderSpec(
            "sized", 3, bands=(1, 2, 3), input_size=(side, side), fingerprint="sized/1"
        )
        self.shown = shown or Shown()

    def at_size(self, side):
        return Sized(side, self.shown)

    def embed(self, batch):
        size = self.spec.input_size
        small = np.stack([[resize(band, size) for band in image] for image in batch])
        self.shown.note(small)
        return small.astype(np.float64).mean(axis=(2, 3)) / 255
