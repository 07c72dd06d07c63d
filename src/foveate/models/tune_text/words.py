"""From a text to numbers: words, and the character n-grams that they are made of.

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
from typing import TYPE_CHECKING

import numpy as np

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
    found = [part for word in words_of(spaced) for part in _unglued(word, known)]
    return " ".join(found) or name


def _unglued(word: str, known: Mapping[str, int]) -> list[str]:
    """Return the known words that a word consists of, or the word itself."""
    # What a data set glues together once, by mistake, it writes as words all along.
    return _cover(word, known, floor=_CLEARLY * known.get(word, 0)) or [word]


def _cover(word: str, known: Mapping[str, int], floor: int) -> list[str] | None:
    """Return words that are used more often than `floor` and make up `word`, or None."""
    if not word:
        return []
    for end in range(len(word), _LEAST - 1, -1):
        if known.get(word[:end], 0) > floor:
            rest = _cover(word[end:], known, floor)
            if rest is not None:
                return [word[:end], *rest]
    return None
