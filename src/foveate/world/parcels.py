"""Field parcels: where each pixel lies in the mosaic of the farmed land.

The land is divided into territories (the commons of a village), each with its own direction;
a territory is cut into rows, rows into parcels, and some parcels into strips, as inheritance
and land consolidation leave them. Everything is a function of position, so that a parcel costs
the same at any ground sample distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.world.noise import direction, lookup, table, worley

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.world.terrain import Frame

type F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Parcels:
    """Where each pixel lies in its parcel.

    Attributes:
        key: (...) int32 hash of the parcel.
        u: (...) float32 metres along the parcel, from the seed of its territory.
        v: (...) float32 metres across the parcel.
        edge: (...) float32 metres to the border of the parcel.
        outer: (...) float32 metres to the border of the territory.
        to_x: (...) float32 metres east to the centre of the parcel.
        to_y: (...) float32 metres south to the centre of the parcel.
        part: (...) float32 0 to 1, position across the parcel.
    """

    key: NDArray[np.int32]
    u: F32
    v: F32
    edge: F32
    outer: F32
    to_x: F32
    to_y: F32
    part: F32


class Mosaic:
    """The parcels of one scene.

    Args:
        frame: Source of the random streams.
        parcel: Typical (length, width) in metres.
    """

    def __init__(self, frame: Frame, parcel: tuple[float, float]) -> None:
        rng = frame.rng("parcels")
        self.length, self.width = parcel
        self.spacing = 3.6 * self.length
        self.jitter = (table(rng), table(rng))
        self.random = table(rng)
        base = float(rng.uniform(0.0, 3.14))
        # Most territories follow the grain of the land; a few do not.
        lean = rng.uniform(-1.0, 1.0, 64)
        lean *= lean * lean * 0.9
        turn = [direction(base + float(k)) for k in lean]
        self.cos = np.array([t[0] for t in turn], np.float32)
        self.sin = np.array([t[1] for t in turn], np.float32)

    def at(self, x: F32, y: F32) -> Parcels:
        """Locate positions (metres, same shape, float32) in the mosaic."""
        rnd = self.random
        i, j, dx, dy, outer = worley(x, y, self.spacing, self.jitter)
        turn = (lookup(rnd, i, j) * np.float32(64.0)).astype(np.int32)
        cos, sin = self.cos[turn], self.sin[turn]
        u, v = dx * cos + dy * sin, dy * cos - dx * sin
        home = i * np.int32(37) + j * np.int32(101)
        # Rows across v, then parcels along u within the row.
        tall = np.float32(self.width) * (
            np.float32(0.75) + np.float32(0.6) * lookup(rnd, i + np.int32(9), j)
        )
        k, low, high = _cut(rnd, v / tall, home)
        row = home + k * np.int32(17)
        wide = np.float32(self.length) * (
            np.float32(0.65) + np.float32(0.7) * lookup(rnd, row, row >> 7)
        )
        g = u / wide + lookup(rnd, row + np.int32(3), home)
        m, left, right = _cut(rnd, g, row)
        key = row * np.int32(29) + m * np.int32(53)
        # Strips: a third of the parcels is divided across v.
        split = lookup(rnd, key, key >> 8)
        strips = np.where(
            split < np.float32(0.34), np.floor(split * np.float32(14.0)) + np.float32(1.0), 1.0
        ).astype(np.float32)
        part = (v / tall - low) / (high - low) * strips
        s = np.minimum(np.floor(part), strips - np.float32(1.0))
        part = part - s
        key = key + s.astype(np.int32) * np.int32(71)
        span = (high - low) / strips * tall
        across = np.minimum(part, np.float32(1.0) - part) * span
        along = np.minimum(g - left, right - g) * wide
        edge = np.minimum(np.minimum(across, along), outer)
        cu = ((left + right) * np.float32(0.5) - g) * wide
        cv = (np.float32(0.5) - part) * span
        return Parcels(key, u, v, edge, outer, cu * cos - cv * sin, cu * sin + cv * cos, part)

    def draw(self, key: NDArray[np.int32], salt: int) -> F32:
        """Give every parcel a random number in [0, 1) of its own for each `salt`."""
        return lookup(
            self.random, key * np.int32(5) + np.int32(31 * salt), (key >> 8) + np.int32(7 * salt)
        )


def _cut(rnd: F32, f: F32, home: NDArray[np.int32]) -> tuple[NDArray[np.int32], F32, F32]:
    """Cut a line into jittered intervals of mean length 1: index, start and end of each."""
    k = np.floor(f).astype(np.int32)
    low = _start(rnd, k, home)
    k = k - (f < low)
    high = _start(rnd, k + np.int32(1), home)
    k = (k + (f >= high)).astype(np.int32)
    return k, _start(rnd, k, home), _start(rnd, k + np.int32(1), home)


def _start(rnd: F32, k: NDArray[np.int32], home: NDArray[np.int32]) -> F32:
    return k + np.float32(0.56) * (lookup(rnd, k, home) - np.float32(0.5))
