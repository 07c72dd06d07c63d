"""Correlation over shifts, compared with a loop over all shifts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from foveate.select.shifts import shifted_correlation


def pictures(n, height, width, seed=0):
    return np.random.default_rng(seed).normal(size=(n, height, width))


def brute(a, b, reach):
    best = -1.0
    height, width = a.shape
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            rows = slice(max(down, 0), height + min(down, 0))
            back = slice(max(-down, 0), height + min(-down, 0))
            columns = slice(max(across, 0), width + min(across, 0))
            fore = slice(max(-across, 0), width + min(-across, 0))
            one = np.corrcoef(a[rows, columns].ravel(), b[back, fore].ravel())[0, 1]
            best = max(best, one)
    return best


def test_largest_correlation_equals_loop_with_subpixel_maximum():
    a, b = pictures(12, 14, 17), pictures(12, 14, 17, seed=1)
    a[3:6, 2:, 1:] += 2 * b[3:6, :-2, :-1]
    found = shifted_correlation(a, b, 3)
    expected = np.array([brute(x, y, 3) for x, y in zip(a, b, strict=True)])
    # The top of a parabola is at most (2 best)^2 / 16 best above its largest point, each way.
    assert (found >= expected - 1e-5).all()
    assert (found <= np.minimum(1.5 * expected, 1) + 1e-5).all()


@pytest.mark.parametrize(("down", "across"), [(0, 0), (3, -2), (-4, 4), (0, 1)])
def test_shifted_images_have_correlation_1(down, across):
    whole = pictures(1, 60, 64)[0]
    a = whole[8:48, 8:52]
    b = whole[8 + down : 48 + down, 8 + across : 52 + across]
    assert shifted_correlation(a[None], b[None], 5)[0] == pytest.approx(1, abs=1e-4)
    assert shifted_correlation(a[None], 7 - 3 * b[None], 5)[0] < 0.5


def test_half_pixel_shift_hardly_reduces_the_correlation():
    fine = gaussian_filter(pictures(1, 160, 160)[0], 2)
    a, b = fine[20:140:2, 20:140:2], fine[21:141:2, 21:141:2]
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] < 0.9
    assert shifted_correlation(a[None], b[None], 2)[0] > 0.95


def test_constant_images_have_no_correlation():
    flat = np.full((2, 9, 9), 1e6)
    other = np.stack([pictures(1, 9, 9)[0], np.full((9, 9), 3.0)])
    assert shifted_correlation(flat, other, 2).tolist() == [0, 0]
    assert shifted_correlation(other, flat, 2).tolist() == [0, 0]
