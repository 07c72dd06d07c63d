"""A model of images and text in a few lines: mean colour, and the colours that words name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.models import FAMILIES, TextSpec
from foveate.models.base import check_bands
from foveate.models.preprocess import clean_texts

WORDS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "grey": (1, 1, 1)}


@dataclass(frozen=True)
class ColourWords:
    """Embeds an image as its mean colour, and a text as the sum of the colours in it."""

    spec: EncoderSpec
    text_spec: TextSpec

    def embed(self, batch):
        check_bands(batch, self.spec)
        return batch.astype(np.float32).mean(axis=(2, 3)) / 255

    def embed_text(self, texts):
        return np.array([self._vector(text) for text in clean_texts(texts)], np.float32)

    def _vector(self, text):
        # Every other word pulls a little, so that templates and their mean make a difference.
        words = text.lower().replace(".", "").split()[: self.text_spec.context]
        found = np.sum([WORDS.get(w, (0, 0, 0)) for w in words], axis=0, dtype=float)
        found += 0.01 * np.sum([[len(w), len(w) % 3, len(w) % 2] for w in words], axis=0)
        return found / np.linalg.norm(found)


def colour_words(bands=(1, 2, 3), **text):
    """Return the model; `text` overrides fields of its text spec."""
    spec = EncoderSpec(
        name="colours", dim=3, bands=tuple(bands), source="no weights", fingerprint="colours/1"
    )
    given = {"scale": 20.0, "bias": 0.0, "head": "cosine", "context": 77}
    return ColourWords(spec, TextSpec(**{**given, **text}))


class _Family:
    def __init__(self, **text):
        self.text = text

    def check(self, handle):
        return replace(handle, channels=3)

    def build(self, handle, bands, scale):
        return colour_words(bands, **self.text)


def register():
    """Make the model known as "colours", and as "pairs" with a sigmoid, in this process."""
    if "colours" not in FAMILIES:
        FAMILIES.register("colours", _Family())
        FAMILIES.register("pairs", _Family(head="sigmoid", bias=-10.0))
