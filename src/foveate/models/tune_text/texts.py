"""Texts: their encoding by words and n-grams, and their matching images.

A word is represented by the mean of the vectors of its n-grams, hashed into a fixed number of
buckets (Bojanowski et al. 2017, Enriching Word Vectors with Subword Information, section 3.2).
Therefore "freeway" is similar to "freeways", no word is unknown, and there is no vocabulary to
store.
"""

from __future__ import annotations

import functools
import re
import unicodedata
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


LENGTHS = (3, 4, 5)  # lengths of n-grams, including the marks of the ends of a word

BUCKETS = 8192

CONTEXT = 40  # maximum number of words; longer texts are truncated

_LEAST = 3  # minimum length of a part of a compound

_CLEARLY = 10  # parts must occur this many times more often than the compound


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text in lower case.

    >>> words_of("Two storage-tanks, 30 m.")
    ['two', 'storage', 'tanks', '30', 'm']
    """
    plain = unicodedata.normalize("NFKC", text).lower()
    return re.findall(r"[^\W\d_]+|\d+", plain)


@functools.lru_cache(maxsize=65536)
def parts_of(word: str) -> tuple[int, ...]:
    """Return the buckets (1 to `BUCKETS`) of a word and of its n-grams; 0 is padding."""
    marked = f"<{word}>"
    grams = {marked[i : i + n] for n in LENGTHS for i in range(len(marked) - n + 1)}
    # Sorted, because the order of a set differs between processes.
    return tuple(1 + zlib.crc32(g.encode()) % BUCKETS for g in sorted({marked, *grams}))


def encode(texts: Sequence[str]) -> NDArray[np.int64]:
    """Encode texts as bucket numbers.

    Args:
        texts: n texts.

    Returns:
        (n, words, parts) int64, padded with 0.
    """
    found = [[parts_of(word) for word in words_of(text)[:CONTEXT]] for text in texts]
    words = max((len(text) for text in found), default=0)
    parts = max((len(word) for text in found for word in text), default=0)
    out = np.zeros((len(texts), max(1, words), max(1, parts)), np.int64)
    for i, text in enumerate(found):
        for j, word in enumerate(text):
            out[i, j, : len(word)] = word
    return out


def readable(name: str, known: Mapping[str, int]) -> str:
    """Convert the name of a folder to words: "storage_tanks", "StorageTanks" and "storagetanks".

    Compounds are split only into words that occur in the captions, the longest first.

    Args:
        name: Name of a folder.
        known: Number of captions with each word.

    >>> readable("denseresidential", {"dense": 9, "residential": 9, "resident": 1})
    'dense residential'
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    found = [part for word in words_of(spaced) for part in _split_compound(word, known)]
    return " ".join(found) or name


def _split_compound(word: str, known: Mapping[str, int]) -> list[str]:
    """Return the known words of a compound, or the word itself."""
    # A compound that is a rare typing error in the captions is split, too.
    return _known_parts(word, known, floor=_CLEARLY * known.get(word, 0)) or [word]


def _known_parts(word: str, known: Mapping[str, int], floor: int) -> list[str] | None:
    """Return the parts of `word` that occur more often than `floor`, or None."""
    if not word:
        return []
    for end in range(len(word), _LEAST - 1, -1):
        if known.get(word[:end], 0) > floor:
            others = _known_parts(word[end:], known, floor)
            if others is not None:
                return [word[:end], *others]
    return None


@dataclass(frozen=True)
class Texts:
    """Texts and matches.

    Attributes:
        texts: m different texts, ignoring case and punctuation.
        match: (n, m) sparse bool, whether text j belongs to image i.
    """

    texts: tuple[str, ...]
    match: csr_matrix

    @classmethod
    def of(cls, per_image: Sequence[Sequence[str]]) -> Texts:
        """Collect the texts of n images.

        Args:
            per_image: Texts of each image; may be empty.
        """
        numbers: dict[tuple[str, ...], int] = {}
        texts: list[str] = []
        columns: list[list[int]] = []
        for given in per_image:
            found = set()
            for text in given:
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
        """Return the texts of some images only."""
        match = self.match[rows]
        used = np.unique(match.indices)
        return Texts(tuple(self.texts[j] for j in used), match[:, used])

    def draw(self, rows: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
        """Draw a random text of each image.

        Args:
            rows: (b,) images with at least one text.
            draw: Generator.

        Returns:
            (b,) indices of texts.
        """
        start, stop = self.match.indptr[rows], self.match.indptr[rows + 1]
        pick = start + (draw.random(rows.size) * (stop - start)).astype(np.int64)
        return self.match.indices[pick].astype(np.int64)

    def matches(self, rows: NDArray[np.int64], texts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (b, k) bool, whether each text belongs to each image."""
        return self.match[rows][:, texts].toarray()

    def word_counts(self) -> Counter[str]:
        """Count the captions with each word, including repeated captions."""
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
    """Augment a caption: return it, or a part of it, optionally in a template.

    Captions are sentences, while queries are phrases such as "golf course" in a template. A model
    trained on complete captions only would be sensitive to missing words and to unseen words of
    templates.

    Args:
        text: A text with at least one word.
        draw: Generator.
        templates: Sentences with ``{}``.
        span: Probability of keeping a span of one to five words only.
        drop: Probability of dropping words, each with the same probability from 0.1 to 0.7.
        wrap: Probability of inserting the result into a template.
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
