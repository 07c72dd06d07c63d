"""Similarity of images that may be shifted by a few pixels.

Normalised cross-correlation over shifts (Lewis 1995, "Fast normalized cross-correlation"): sums of
products are computed by Fourier transforms, means and variances of the overlap by cumulative sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["shifted_correlation"]


def shifted_correlation(
    a: NDArray[np.floating], b: NDArray[np.floating], reach: int
) -> NDArray[np.float64]:
    """Return the largest correlation of the overlap of two images over all shifts.

    The peak is interpolated between whole shifts by a parabola through its neighbours, down and
    across; otherwise the correlation of images shifted by half a pixel would be underestimated.

    Args:
        a: (n, h, w) images.
        b: (n, h, w) images, compared with those of `a` one by one.
        reach: Largest shift in pixels, at least 1 and less than half of a side.

    Returns:
        (n,) from -1 to 1; 0 for constant images.
    """
    shifts = np.arange(-reach, reach + 1)
    a, b = _centred(a), _centred(b)
    found = _products(a, b, shifts)
    height, width = a.shape[1:]
    size = (height - np.abs(shifts))[:, None] * (width - np.abs(shifts))
    (sum_a, square_a), (sum_b, square_b) = _sums(a, shifts), _sums(b, -shifts)
    spread = (square_a - sum_a**2 / size) * (square_b - sum_b**2 / size)
    known = spread > _FLAT**2
    found = (found - sum_a * sum_b / size) / np.sqrt(np.where(known, spread, 1.0))
    return _peak(np.where(known, found, 0.0))


_FLAT = 1e-6  # shares of the variance of an image below this are rounding


def _centred(x: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return images with mean 0 and unit norm; constant images become 0."""
    x = x - x.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    length = np.sqrt(np.square(x).sum(axis=(1, 2), keepdims=True))
    return np.where(length > 0, x / np.where(length > 0, length, 1.0), 0.0).astype(np.float32)


def _products(
    a: NDArray[np.float32], b: NDArray[np.float32], shifts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the sums of a[i + shift] b[i], (n, s, s) by shift down and across."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    shape = tuple(next_fast_len(side + int(shifts[-1]), real=True) for side in a.shape[1:])
    found = irfft2(rfft2(a, shape) * np.conj(rfft2(b, shape)), shape)
    return found[:, shifts[:, None] % shape[0], shifts % shape[1]].astype(np.float64)


def _sums(
    x: NDArray[np.float32], shifts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sums of values and of squares over the overlap, by shift."""
    begin = np.maximum(shifts, 0)
    down, across = (side + np.minimum(shifts, 0) for side in x.shape[1:])
    begin_down, down = begin[:, None], down[:, None]

    def total(values: NDArray[np.float32]) -> NDArray[np.float64]:
        table = np.zeros((len(x), x.shape[1] + 1, x.shape[2] + 1))
        table[:, 1:, 1:] = values.cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
        lower = table[:, down, across] - table[:, down, begin]
        return lower - table[:, begin_down, across] + table[:, begin_down, begin]

    return total(x), total(np.square(x))


def _peak(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the maximum of parabolas through the largest of (n, s, s) values, at most 1."""
    n, s, _ = value.shape
    row, place = np.arange(n), value.reshape(n, -1).argmax(axis=1)
    down, across = np.unravel_index(place, (s, s))
    best = value[row, down, across]
    top = best.copy()
    for along, (step_down, step_across) in ((down, (1, 0)), (across, (0, 1))):
        i = np.flatnonzero((along > 0) & (along < s - 1))
        before, after = (
            value[i, down[i] + k * step_down, across[i] + k * step_across] for k in (-1, 1)
        )
        bend = 2 * best[i] - before - after
        top[i] += (after - before) ** 2 / (8 * np.where(bend > 0, bend, np.inf))
    return np.clip(top, -1.0, 1.0)
