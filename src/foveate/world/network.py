"""Lines on the land: least-cost routes, their smoothing, and distances to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.world.terrain import Frame

type F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Line:
    """A line with a width.

    Attributes:
        points: (n, 2) float64 y, x in metres.
        width: (n,) float64 width at each point in metres.
    """

    points: F64
    width: F64


class Router:
    """Least-cost routes over a grid of costs per metre.

    Args:
        cost: (p, q) float64 positive cost per metre.
        step: Grid spacing in metres.
    """

    def __init__(self, cost: F64, step: float) -> None:
        self.cost = cost.copy()
        self.step = step

    def route(self, start: tuple[float, float], end: tuple[float, float]) -> F64:
        """Return the (n, 2) least-cost path from `start` to `end`, y and x in metres."""
        q = self.cost.shape[1]
        a, b = self._node(start), self._node(end)
        _, before = dijkstra(self._graph(), directed=False, indices=a, return_predecessors=True)
        way = [b]
        while way[-1] != a and before[way[-1]] >= 0:
            way.append(int(before[way[-1]]))
        nodes = np.array(way[::-1])
        cells = np.stack([nodes // q, nodes % q], axis=1)
        points = cells * self.step
        points[0], points[-1] = start, end
        return points.astype(np.float64)

    def discount(self, points: F64, factor: float) -> None:
        """Reduce the cost along a line, so that later routes join it."""
        p, q = self.cost.shape
        dense = densify(Line(points, np.ones(len(points))), self.step * 0.5).points
        cells = np.rint(dense / self.step).astype(int)
        rows, cols = np.clip(cells[:, 0], 0, p - 1), np.clip(cells[:, 1], 0, q - 1)
        flat = np.unique(rows * q + cols)
        self.cost.ravel()[flat] *= factor

    def _node(self, at: tuple[float, float]) -> int:
        p, q = self.cost.shape
        row = min(max(round(at[0] / self.step), 0), p - 1)
        col = min(max(round(at[1] / self.step), 0), q - 1)
        return row * q + col

    def _graph(self) -> csr_array:
        p, q = self.cost.shape
        ids = np.arange(p * q, dtype=np.int32).reshape(p, q)  # scipy 1.13 supports no other dtype
        sources, targets, weights = [], [], []
        # Knight's moves as well: eight neighbours alone give roads with 45 degree corners.
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1)):
            a = (slice(0, p - dy), slice(max(0, -dx), q - max(0, dx)))
            b = (slice(dy, p), slice(max(0, dx), q + min(0, dx)))
            sources.append(ids[a].ravel())
            targets.append(ids[b].ravel())
            length = float(np.sqrt(dy * dy + dx * dx)) * self.step * 0.5
            weights.append((self.cost[a] + self.cost[b]).ravel() * length)
        return csr_array(
            (np.concatenate(weights), (np.concatenate(sources), np.concatenate(targets))),
            shape=(p * q, p * q),
        )


def relax(points: F64, rounds: int) -> F64:
    """Smooth a line by averaging neighbours, then by corner cutting (Chaikin 1974)."""
    out = points
    for _ in range(rounds):
        inner = 0.25 * out[:-2] + 0.5 * out[1:-1] + 0.25 * out[2:]
        out = np.concatenate([out[:1], inner, out[-1:]])
    for _ in range(2):
        cut = np.empty((2 * (len(out) - 1), 2))
        cut[0::2] = 0.75 * out[:-1] + 0.25 * out[1:]
        cut[1::2] = 0.25 * out[:-1] + 0.75 * out[1:]
        out = np.concatenate([out[:1], cut, out[-1:]])
    return out


def densify(line: Line, spacing: float) -> Line:
    """Insert points so that none is farther than `spacing` metres from the next."""
    delta = np.diff(line.points, axis=0)
    length = np.sqrt((delta**2).sum(axis=1))
    at = np.concatenate([[0.0], np.cumsum(length)])
    n = max(2, int(np.ceil(at[-1] / spacing)) + 1)
    want = np.linspace(0.0, at[-1], n)
    points = np.stack([np.interp(want, at, line.points[:, k]) for k in (0, 1)], axis=1)
    return Line(points, np.interp(want, at, line.width))


def distance(frame: Frame, lines: list[Line], reach: float) -> NDArray[np.float32]:
    """Signed distance from each pixel to the nearest edge of the nearest line.

    Args:
        frame: The pixel grid.
        lines: Lines in metres of the frame's domain.
        reach: Distance in metres up to which the result is exact; beyond, it is `reach`.

    Returns:
        (h, w) float32 metres, negative on the line.
    """
    h, w = frame.shape
    out = np.full((h, w), np.float32(reach), np.float32)
    for line in lines:
        dense = densify(line, max(24.0 * frame.gsd, reach * 0.5))
        # To pixel centres: pixel (0, 0) has its centre at 0.
        points = (dense.points - (frame.y0, frame.x0)) / frame.gsd - 0.5
        half = dense.width * (0.5 / frame.gsd)
        for k in range(len(points) - 1):
            _segment(out, points[k : k + 2], half[k : k + 2], frame.gsd, reach)
    return out


def _segment(out: NDArray[np.float32], ends: F64, half: F64, gsd: float, reach: float) -> None:
    """Lower `out` to the distance from one segment, near that segment."""
    a, b = ends
    pad = float(half.max()) + reach / gsd
    top, left = np.floor(np.minimum(a, b) - pad).astype(int)
    bottom, right = np.ceil(np.maximum(a, b) + pad).astype(int) + 1
    top, left = max(top, 0), max(left, 0)
    bottom, right = min(bottom, out.shape[0]), min(right, out.shape[1])
    if top >= bottom or left >= right:
        return
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(a[0])
    x = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(a[1])
    dy, dx = np.float32(b[0] - a[0]), np.float32(b[1] - a[1])
    norm = max(float(dy * dy + dx * dx), 1e-6)
    t = np.clip(y * np.float32(dy / norm) + x * np.float32(dx / norm), 0.0, 1.0)
    y, x = y - t * dy, x - t * dx
    width = np.float32(half[0]) + t * np.float32(half[1] - half[0])
    d = (np.sqrt(y * y + x * x) - width) * np.float32(gsd)
    window = out[top:bottom, left:right]
    np.minimum(window, d, out=window)
