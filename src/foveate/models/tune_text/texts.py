"""Texts: the words and n-grams that they are made of, and which images each was written for.

A word stands for the mean of the vectors of its parts, hashed into a fixed number of buckets
(Bojanowski et al. 2017, Enriching Word Vectors with Subword Information, section 3.2). So
"freeway" means something to a model that has read only of "freeways", no word is unknown, and
there is no vocabulary to be saved or to go stale.
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


LENGTHS = (3, 4, 5)  # of the n-grams, the marks of the word's ends included

BUCKETS = 8192

CONTEXT = 40  # words; longer texts are cut

_LEAST = 3  # letters of a part into which a glued name may fall

_CLEARLY = 10  # times as often as the glued word must its parts occur


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
    # Sorted, for a set has an order of its own in each process.
    return tuple(1 + zlib.crc32(g.encode()) % BUCKETS for g in sorted({marked, *grams}))


def encode(texts: Sequence[str]) -> NDArray[np.int64]:
    """Turn texts into buckets.

    Args:
        texts: n texts.

    Returns:
        (n, words, parts) int64, 0 where a text or a word is shorter than the longest.
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
    """Write the name of a folder as words: "storage_tanks", "StorageTanks" and "storagetanks".

    Glued words are taken apart only into words that the captions know, the longest first.

    Args:
        name: Name of a folder.
        known: How often the captions use a word.

    >>> readable("denseresidential", {"dense": 9, "residential": 9, "resident": 1})
    'dense residential'
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    found = [part for word in words_of(spaced) for part in _split_compound(word, known)]
    return " ".join(found) or name


def _split_compound(word: str, known: Mapping[str, int]) -> list[str]:
    """Return the known words that a word consists of, or the word itself."""
    # What a data set glues together once, by mistake, it writes as words all along.
    return _known_parts(word, known, floor=_CLEARLY * known.get(word, 0)) or [word]


def _known_parts(word: str, known: Mapping[str, int], floor: int) -> list[str] | None:
    """Return words that are used more often than `floor` and make up `word`, or None."""
    if not word:
        return []
    for end in range(len(word), _LEAST - 1, -1):
        if known.get(word[:end], 0) > floor:
            rest = _known_parts(word[end:], known, floor)
            if rest is not None:
                return [word[:end], *rest]
    return None


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
