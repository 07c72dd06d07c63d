"""The texts of a pool of images: each text once, and which images it was written for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from foveate.models.tune_text.words import words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Texts:
    """Texts and matches.

    Attributes:
        texts: m different texts; two that differ in case or punctuation alone are the same.
        match: (n, m) sparse bool: text j was written for image i.
    """

    texts: tuple[str, ...]
    match: csr_matrix

    @classmethod
    def of(cls, per_image: Sequence[Sequence[str]]) -> Texts:
        """Gather the texts of n images.

        Args:
            per_image: Texts of each image; may be empty.
        """
        numbers: dict[tuple[str, ...], int] = {}
        texts: list[str] = []
        columns: list[list[int]] = []
        for own in per_image:
            found = set()
            for text in own:
                key = tuple(words_of(text))
                if key not in numbers:
                    numbers[key] = len(texts)
                    texts.append(text)
                found.add(numbers[key])
            columns.append(sorted(found))
        start = np.concatenate([[0], np.cumsum([len(c) for c in columns])]).astype(np.int64)
        flat = np.array([j for c in columns for j in c], dtype=np.int64)
        match = csr_matrix(
            (np.ones(flat.size, np.bool_), flat, start), shape=(len(columns), len(texts))
        )
        return cls(tuple(texts), match)

    def take(self, rows: NDArray[np.int64]) -> Texts:
        """Return the texts of some images, without those that none of them has."""
        match = self.match[rows]
        used = np.unique(match.indices)
        return Texts(tuple(self.texts[j] for j in used), match[:, used])

    def draw(self, rows: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
        """Draw a text of each image.

        Args:
            rows: (b,) images that have texts.
            draw: Generator.

        Returns:
            (b,) numbers of texts.
        """
        start, stop = self.match.indptr[rows], self.match.indptr[rows + 1]
        pick = start + (draw.random(rows.size) * (stop - start)).astype(np.int64)
        return self.match.indices[pick].astype(np.int64)

    def matches(self, rows: NDArray[np.int64], texts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (b, k) bool: whether each text was written for each image."""
        return self.match[rows][:, texts].toarray()

    def word_counts(self) -> Counter[str]:
        """Count in how many captions each word occurs, repeated captions included."""
        times = np.asarray(self.match.sum(axis=0)).ravel()
        counts: Counter[str] = Counter()
        for text, n in zip(self.texts, times, strict=True):
            for word in set(words_of(text)):
                counts[word] += int(n)
        return counts


def vary(
    text: str,
    draw: np.random.Generator,
    templates: Sequence[str],
    *,
    span: float = 0.3,
    drop: float = 0.3,
    wrap: float = 0.3,
) -> str:
    """Return a caption, a part of it, or either in a sentence around it.

    Captions are sentences, and what is asked for later is a phrase, "golf course", in a template:
    a model that has met whole captions only reads much into the lack of the rest, and into words
    that it has never met.

    Args:
        text: At least one word.
        draw: Generator.
        templates: Sentences with ``{}``.
        span: Probability of a run of one to five words.
        drop: Probability of leaving out words, each with the same probability from 0.1 to 0.7.
        wrap: Probability of a template around what is left.
    """
    words = words_of(text)
    kind = draw.random()
    if kind < span:
        size = int(draw.integers(1, min(5, len(words)) + 1))
        first = int(draw.integers(0, len(words) - size + 1))
        words = words[first : first + size]
    elif kind < span + drop:
        kept = draw.random(len(words)) >= draw.uniform(0.1, 0.7)
        words = [w for w, keep in zip(words, kept, strict=True) if keep] or words
    varied = " ".join(words)
    if templates and draw.random() < wrap:
        return templates[int(draw.integers(len(templates)))].replace("{}", varied)
    return varied
