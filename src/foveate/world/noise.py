"""Smooth random fields, generated coarse to fine, and coordinate helpers.

Only additions, multiplications, square roots and integer arithmetic touch the pixels: numpy's
exp, sin and hypot differ in the last bit between processors, and the bytes of a world must not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

type F32 = NDArray[np.float32]

TABLE = 256  # side of the periodic tables below; a power of two, so that `& (TABLE - 1)` wraps


def fractal(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    wavelength: float,
    gain: float = 0.5,
    finest: float = 2.0,
) -> F32:
    """Generate fractal noise by repeated subdivision of a cubic B-spline surface.

    Each level doubles the lattice and adds uniform noise of `gain` times the amplitude, so
    the total cost is 4/3 of the finest level (midpoint displacement, Fournier et al. 1982, with
    the Lane-Riesenfeld smoothing step in place of the midpoint).

    Args:
        rng: Source of the lattice values.
        shape: (h, w) of the result.
        wavelength: Size of the largest features in pixels, rounded to a power of two.
        gain: Amplitude of each level relative to the one before.
        finest: Size in pixels below which nothing is added.

    Returns:
        (h, w) float32, about zero mean and unit standard deviation.
    """
    levels = max(0, round(math.log2(max(wavelength, 1.0) / 2.0)))
    sizes = [shape]
    for _ in range(levels):
        sizes.append((-(-sizes[-1][0] // 2) + 2, -(-sizes[-1][1] // 2) + 2))
    field = rng.random(sizes[-1], dtype=np.float32) - np.float32(0.5)
    amplitude, power = 1.0, 1.0
    for level in range(levels - 1, -1, -1):
        field = _double(_double(field).T).T[: sizes[level][0], : sizes[level][1]]
        amplitude *= gain
        if 2**level * 2.0 >= finest:
            field += np.float32(amplitude) * (
                rng.random(sizes[level], dtype=np.float32) - np.float32(0.5)
            )
            power += amplitude**2
    # A cubic B-spline surface keeps 0.23 of the variance of its lattice, 1/12 for uniform noise.
    return np.ascontiguousarray(field) * np.float32(1.0 / math.sqrt(power * 0.23 / 12.0))


def _double(a: F32) -> F32:
    """Subdivide along axis 0: n -> 2 (n - 2) rows of the same cubic B-spline."""
    out = np.empty((2 * (a.shape[0] - 2), *a.shape[1:]), np.float32)
    out[0::2] = a[:-2] * np.float32(0.125) + a[1:-1] * np.float32(0.75)
    out[0::2] += a[2:] * np.float32(0.125)
    out[1::2] = (a[1:-1] + a[2:]) * np.float32(0.5)
    return out


def sample(coarse: F32, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> F32:
    """Evaluate a coarse grid smoothly at fractional rows x columns (cubic B-spline).

    Args:
        coarse: (p, q) float32 lattice.
        rows: (h,) lattice row of each output row.
        cols: (w,) lattice column of each output column.

    Returns:
        (h, w) float32. The spline smooths the lattice slightly instead of interpolating it.
    """
    index, weight = _taps(rows, coarse.shape[0])
    mid = sum(weight[k][:, None] * coarse[index[k]] for k in range(4))
    index, weight = _taps(cols, coarse.shape[1])
    mid = np.ascontiguousarray(mid)
    out = weight[0] * np.take(mid, index[0], axis=1)
    for k in range(1, 4):
        out += weight[k] * np.take(mid, index[k], axis=1)
    return out


def _taps(at: NDArray[np.float64], n: int) -> tuple[NDArray[np.intp], F32]:
    base = np.floor(at)
    t = at - base
    s = 1.0 - t
    weight = np.stack(
        [s**2 * s, 3 * t**2 * t - 6 * t**2 + 4, 3 * s**2 * s - 6 * s**2 + 4, t**2 * t]
    )
    index = np.clip(base.astype(np.intp) + np.arange(-1, 3)[:, None], 0, n - 1)
    return index, (weight / 6.0).astype(np.float32)


def table(rng: np.random.Generator, smooth: int = 0) -> F32:
    """Generate a periodic (256, 256) float32 table in [0, 1), smoothed `smooth` times.

    Smoothing keeps the table at about its first contrast, so it serves as a texture that is
    looked up at any scale and orientation.
    """
    out = rng.random((TABLE, TABLE), dtype=np.float32)
    for _ in range(smooth):
        for axis in (0, 1):
            out = (np.roll(out, 1, axis) + np.roll(out, -1, axis)) * np.float32(0.25) + out * (
                np.float32(0.5)
            )
        out = (out - np.float32(0.5)) * np.float32(1.55) + np.float32(0.5)
    return np.clip(out, 0.0, np.float32(0.999999))


def lookup(tab: NDArray, i: NDArray[np.int32], j: NDArray[np.int32]) -> NDArray:
    """Read a periodic table at integer coordinates of any size and sign."""
    return np.take(tab.ravel(), ((i & (TABLE - 1)) << 8) | (j & (TABLE - 1)), mode="wrap")


def smoothstep(a: F32, low: float, high: float) -> F32:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((a - np.float32(low)) * np.float32(1.0 / (high - low)), 0.0, 1.0)
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)


def triangle(a: F32) -> F32:
    """Triangle wave of period 1 between -1 and 1."""
    return np.abs((a - np.floor(a)) * np.float32(4.0) - np.float32(2.0)) - np.float32(1.0)


def direction(angle: float) -> tuple[float, float]:
    """Return (cos, sin), rounded so that every libm gives the same."""
    return round(math.cos(angle), 9), round(math.sin(angle), 9)


def worley(x: F32, y: F32, spacing: float, jitter: tuple[F32, F32]) -> tuple[NDArray, ...]:
    """Find the nearest seed of a jittered lattice (Worley 1996).

    Args:
        x: (...) float32 positions in metres.
        y: As `x`.
        spacing: Lattice spacing in metres.
        jitter: Two periodic tables in [0, 1): position of a seed in its cell.

    Returns:
        ``i, j`` int32 cell of the nearest seed, ``dx, dy`` offset from it in metres, and
        ``edge`` the distance to the border with the second nearest seed in metres.
    """
    inv = np.float32(1.0 / spacing)
    sx, sy = x * inv, y * inv
    cx, cy = np.floor(sx).astype(np.int32), np.floor(sy).astype(np.int32)
    best = np.full(x.shape, 1e9, np.float32)
    second = best.copy()
    first, runner = np.zeros(x.shape, np.int8), np.zeros(x.shape, np.int8)
    for k in range(9):
        dx, dy = _offset(sx, sy, cy + np.int32(k // 3 - 1), cx + np.int32(k % 3 - 1), jitter)
        d = dx * dx + dy * dy
        near, close = d < best, d < second
        np.copyto(runner, np.int8(k), where=close)
        np.copyto(runner, first, where=near)
        np.copyto(first, np.int8(k), where=near)
        np.minimum(second, np.maximum(best, d), out=second)
        np.minimum(best, d, out=best)
    # Only the ids of the two nearest seeds are kept; their positions are recomputed.
    rx, ry = _offset(sx, sy, cy + runner // 3 - np.int32(1), cx + runner % 3 - np.int32(1), jitter)
    bi, bj = cy + first // 3 - np.int32(1), cx + first % 3 - np.int32(1)
    bx, by = _offset(sx, sy, bi, bj, jitter)
    # The bisector of two seeds is (F2^2 - F1^2) / (2 |s1 - s2|) away.
    gap = np.sqrt((rx - bx) ** 2 + (ry - by) ** 2)
    edge = (second - best) / np.maximum(gap, np.float32(1e-3)) * np.float32(0.5 * spacing)
    return bi, bj, bx * np.float32(spacing), by * np.float32(spacing), edge


def _offset(
    sx: F32, sy: F32, i: NDArray[np.int32], j: NDArray[np.int32], jitter: tuple[F32, F32]
) -> tuple[F32, F32]:
    """Offset of positions from the seeds of the cells `i`, `j`, in cells."""
    dx = sx - (j + np.float32(0.12) + np.float32(0.76) * lookup(jitter[0], i, j))
    dy = sy - (i + np.float32(0.12) + np.float32(0.76) * lookup(jitter[1], i, j))
    return dx, dy
