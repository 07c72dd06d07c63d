"""Batched rasterisation of many small rotated rectangles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.world.terrain import Frame

type F32 = NDArray[np.float32]

BATCH = 2_000_000  # pixels per batch


@dataclass(frozen=True, eq=False)
class Boxes:
    """Rotated rectangles.

    Attributes:
        y: (n,) centre in metres of the domain.
        x: (n,) as `y`.
        cos: (n,) cosine of the direction of the long side.
        sin: (n,) sine of it.
        length: (n,) metres along the direction.
        width: (n,) metres across.
    """

    y: F32
    x: F32
    cos: F32
    sin: F32
    length: F32
    width: F32

    def take(self, rows: NDArray) -> Boxes:
        """Return the rectangles `rows` (indices or a mask)."""
        return Boxes(
            self.y[rows],
            self.x[rows],
            self.cos[rows],
            self.sin[rows],
            self.length[rows],
            self.width[rows],
        )


@dataclass(frozen=True, eq=False)
class Stamp:
    """Pixels inside a batch of rectangles, later rectangles last.

    Attributes:
        at: Pixel rows and columns, each (k,).
        which: (k,) index of the rectangle.
        u: (k,) float32 metres along, from the centre.
        v: (k,) float32 metres across, from the centre.
    """

    at: tuple[NDArray[np.intp], NDArray[np.intp]]
    which: NDArray[np.intp]
    u: F32
    v: F32


def stamp(frame: Frame, boxes: Boxes) -> Iterator[Stamp]:
    """Yield the pixels whose centre lies in each rectangle, in batches and in order."""
    if not boxes.y.size:
        return
    reach = float(np.sqrt(boxes.length**2 + boxes.width**2).max()) * 0.5 / frame.gsd
    side = 2 * int(np.ceil(reach)) + 1
    span = np.arange(side, dtype=np.int32) - side // 2
    per = max(1, BATCH // side**2)
    for first in range(0, boxes.y.size, per):
        part = boxes.take(np.arange(first, min(first + per, boxes.y.size)))
        row, col = frame.pixel(part.y, part.x)
        rows = row[:, None, None] + span[None, :, None]
        cols = col[:, None, None] + span[None, None, :]
        dy = ((rows + 0.5) * frame.gsd + frame.y0 - part.y[:, None, None]).astype(np.float32)
        dx = ((cols + 0.5) * frame.gsd + frame.x0 - part.x[:, None, None]).astype(np.float32)
        cos, sin = part.cos[:, None, None], part.sin[:, None, None]
        u, v = dx * cos + dy * sin, dy * cos - dx * sin
        inside = (np.abs(u) <= part.length[:, None, None] * np.float32(0.5)) & (
            np.abs(v) <= part.width[:, None, None] * np.float32(0.5)
        )
        inside &= (rows >= 0) & (rows < frame.shape[0]) & (cols >= 0) & (cols < frame.shape[1])
        n, i, j = inside.nonzero()
        yield Stamp((rows[n, i, 0], cols[n, 0, j]), n + first, u[n, i, j], v[n, i, j])
