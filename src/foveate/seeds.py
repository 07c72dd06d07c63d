"""Named random streams and the seeded order of ties.

foveate neither reads nor writes global random state. Each random decision has its own named stream
(``"fd/start"``), so adding a random step to one method does not change the random numbers of
another.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def rng(seed: int, name: str) -> np.random.Generator:
    """Return the generator of the stream `name` under `seed`.

    The stream depends on the two arguments only, not on the platform, on PYTHONHASHSEED or on
    previous draws.

    >>> int(rng(0, "fd/start").integers(1000)) == int(rng(0, "fd/start").integers(1000))
    True
    """
    return np.random.Generator(np.random.PCG64(_key(seed, name)))


def tie_keys(
    ids: Sequence[str] | NDArray[np.str_], seed: int, name: str = "ties"
) -> NDArray[np.uint64]:
    """Hash each id under `seed`; rows of equal score are ordered by these keys.

    Breaking ties by row or id would be geographic order, and land cover data has many ties (the
    entropy of every single-class patch is 0). A key depends on its id and the seed only.

    Args:
        ids: n identifiers.
        seed: Seed of the run.
        name: Stream; another name gives an independent order.

    Returns:
        (n,) uint64 keys. Keys may collide (probability about n^2 / 2^65); the order is still
        deterministic because sorts by key are stable.
    """
    encoded = np.char.encode(np.asarray(ids, dtype=np.str_), "utf-8")
    n = encoded.shape[0]
    if n == 0:
        return np.empty(0, np.uint64)
    width = -(-encoded.dtype.itemsize // 8) * 8
    words = encoded.astype(f"S{width}").view("<u8").reshape(n, -1).astype(np.uint64)
    keys = np.full(n, np.uint64(_key(seed, name) & 0xFFFFFFFFFFFFFFFF))
    for word in words.T:
        # Skip zero words: they are padding, which depends on the longest id of the pool.
        keys = np.where(word == 0, keys, _splitmix(keys ^ word))
    return _splitmix(keys)


def _key(seed: int, name: str) -> int:
    digest = hashlib.blake2b(f"{seed}\x00{name}".encode(), digest_size=16).digest()
    return int.from_bytes(digest, "little")


def _splitmix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply one round of splitmix64 (Steele, Lea and Flood 2014), a bijection on 64 bits."""
    z = z + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))
