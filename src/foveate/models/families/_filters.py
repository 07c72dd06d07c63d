"""Image operators of the encoder without weights: pure functions on float32 planes.

Everything is an explicit sum over shifted views, in a fixed order. That is faster than a general
convolution for kernels this short, and it makes a result depend on the plane alone: no BLAS, no
threads, no FFT plan. Kernels are applied as ``(a[-j] + a[+j]) * k[j]``, which commutes, so
mirroring a plane mirrors the result exactly and turning it turns the result to rounding.

Planes are padded by reflection with the edge sample repeated, which works
for any size, a single pixel included.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

type Plane = NDArray[np.float32]

# The eight neighbours in the order of the circle, so that a turn is a rotation of the bits.
_RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def contrast_weights(bands: int) -> NDArray[np.float64]:
    """Return the fixed colour space for any number of bands.

    Row 0 is the mean; row k is the k-th DCT-II basis vector over the band axis, scaled to
    absolute sum 1. For three bands these are I1 = (R+G+B)/3, I2 = (R-B)/2 and I3 = (R-2G+B)/4,
    up to sign the colour features of Ohta, Kanade and Sakai (1980, Computer Graphics and Image
    Processing 13), which they found close to the principal axes of colour imagery.

    Args:
        bands: Number of bands c >= 1.

    Returns:
        (c, c) float64. Applied to values in [0, 1], row 0 gives [0, 1], the others [-0.5, 0.5].
    """
    k = np.arange(bands)[:, None]
    basis = np.cos(np.pi * k * (np.arange(bands) + 0.5) / bands).round(12)
    return basis / np.abs(basis).sum(axis=1, keepdims=True)


def mix(planes: Sequence[Plane], weights: NDArray[np.float32]) -> Plane:
    """Return the weighted sum of planes, added in their order.

    Args:
        planes: c arrays (h, w) float32.
        weights: (c,) float32.

    Returns:
        (h, w) float32.
    """
    out = planes[0] * weights[0]
    for plane, weight in zip(planes[1:], weights[1:], strict=True):
        out += plane * weight
    return out


def mirror(a: Plane, r: int) -> Plane:
    """Pad a plane by `r` pixels on every side, by reflection with the edge sample repeated.

    Args:
        a: (h, w) float32.
        r: Padding in pixels; it may exceed the plane, reflections then repeat.

    Returns:
        (h + 2r, w + 2r) float32.
    """
    h, w = a.shape
    if min(h, w) < r:
        return np.pad(a, r, mode="symmetric")
    out = np.empty((h + 2 * r, w + 2 * r), a.dtype)  # np.pad takes three times as long
    out[r : r + h, r : r + w] = a
    out[:r, r : r + w] = a[r - 1 :: -1]
    out[r + h :, r : r + w] = a[: h - r - 1 : -1] if h > r else a[::-1]
    out[:, :r] = out[:, 2 * r - 1 : r - 1 : -1]
    out[:, r + w :] = out[:, r + w - 1 : w - 1 : -1]
    return out


def halve(a: Plane) -> Plane:
    """Downsample by 2 so that it commutes with flipping.

    Even lengths average pairs; odd lengths keep every second sample after a [1 2 1]/4 filter.

    Args:
        a: (h, w) float32.

    Returns:
        (ceil(h/2), ceil(w/2)) float32.
    """
    return np.ascontiguousarray(_halve_rows(_halve_rows(a).T).T)


def gaussian_kernels(sigma: float, radius: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return half kernels of a Gaussian and of its first derivative.

    The smoothing kernel sums to 1 and the derivative kernel answers 1 to a ramp of slope 1,
    however short they are.

    Args:
        sigma: In pixels.
        radius: In pixels.

    Returns:
        Two (radius + 1,) float32 arrays for offsets 0..radius; the derivative is antisymmetric.
    """
    x = np.arange(radius + 1)
    g = np.exp(-0.5 * (x / sigma) ** 2)
    slope = x * g
    return (
        (g / (g[0] + 2 * g[1:].sum())).astype(np.float32),
        (slope / (2 * (slope * x).sum())).astype(np.float32),
    )


_SMOOTH, _SLOPE = gaussian_kernels(sigma=1.0, radius=3)


def gradient(a: Plane) -> tuple[Plane, Plane]:
    """Return the Gaussian gradient (sigma 1 px), the first-order steerable pair.

    Any oriented first derivative is ``cos(t) gx + sin(t) gy`` (Freeman and Adelson 1991, IEEE
    PAMI 13(9), eq. 5), so that statistics over all orientations need two filters only.

    Args:
        a: (h, w) float32.

    Returns:
        gx along columns and gy along rows, (h, w) float32, in units of `a` per pixel.
    """
    p = mirror(a, _SMOOTH.size - 1)
    gx = _odd(_even(p, _SMOOTH).T, _SLOPE).T
    gy = _even(_odd(p, _SLOPE).T, _SMOOTH).T
    return np.ascontiguousarray(gx), np.ascontiguousarray(gy)


def uniform_table() -> NDArray[np.uint8]:
    """Return the rotation-invariant uniform class of each 8-bit ring code ("riu2").

    Codes with at most two changes around the ring map to their number of ones (0..8), all
    others to 9 (Ojala, Pietikainen and Maenpaa 2002, IEEE PAMI 24(7), eq. 9).

    Returns:
        (256,) uint8 in 0..9.
    """
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes = (bits != np.roll(bits, 1, axis=1)).sum(axis=1)
    return np.where(changes <= 2, bits.sum(axis=1), 9).astype(np.uint8)


_RIU = uniform_table()
# Both codes of a pixel at once: index sign * 256 + size, value class * 10 + class.
_RIU_PAIR = (_RIU[:, None] * 10 + _RIU).ravel()


def ring_patterns(a: Plane, floor: float) -> NDArray[np.uint8]:
    """Return the completed local binary pattern of each pixel (Guo, Zhang and Zhang 2010).

    With d the eight differences neighbour minus centre, the sign code has a bit where
    ``d >= floor`` and the size code where ``|d| >= max(floor, mean |d| of the plane)``; both go
    through `uniform_table`. Guo's floor is 0; above it, flat ground gives no pattern at all
    instead of the pattern of its rounding errors.

    Args:
        a: (h, w) float32.
        floor: Differences below it are treated as zero, in units of `a`.

    Returns:
        (h, w) uint8 classes ``10 * sign + size`` in 0..99.
    """
    h, w = a.shape
    stride = w + 2
    flat = mirror(a, 1).ravel()
    # One run over memory from the first pixel to the last is four times as fast as row by row.
    # It also meets the two margin columns between rows: they are blanked or cut off.
    first, n = stride + 1, h * stride - 2
    centre = flat[first : first + n]
    ring = [flat[first + y * stride + x :][:n] for y, x in _RING]
    d = np.empty(n, np.float32)
    block = np.zeros(h * stride, np.float32)
    size = block[:n]
    mean = 0.0
    for neighbour in ring:
        np.abs(np.subtract(neighbour, centre, out=d), out=size)
        block.reshape(h, stride)[:, w:] = 0
        mean += float(block.sum(dtype=np.float32))
    low = np.float32(floor)
    high = np.float32(max(floor, mean / (8 * a.size)))
    signs = np.zeros(h * stride, np.uint8)
    sizes = np.zeros(h * stride, np.uint8)
    for k, neighbour in enumerate(ring):
        np.subtract(neighbour, centre, out=d)
        signs[:n] |= (d >= low).view(np.uint8) * np.uint8(1 << k)
        sizes[:n] |= (np.abs(d, out=d) >= high).view(np.uint8) * np.uint8(1 << k)
    codes = (signs.astype(np.uint16) * np.uint16(256) + sizes).reshape(h, stride)[:, :w]
    return _RIU_PAIR.take(codes, mode="clip")  # every index is in range; "clip" is the fast path


def soft_histogram(values: Sequence[Plane], bins: Sequence[int]) -> NDArray[np.float64]:
    """Return the joint histogram with linear interpolation between bin centres.

    A value between two centres is shared between them, so that a small change of the input is a
    small change of the histogram. Values beyond the outer centres count for the outer bins.

    Args:
        values: k planes of one shape, in bin units: centres lie at 0, 1, ... bins - 1.
        bins: k numbers of bins, each at least 2.

    Returns:
        (prod(bins),) float64, last axis fastest, sum 1.
    """
    low = np.zeros(values[0].shape, np.intp)
    shares = []
    for value, n in zip(values, bins, strict=True):
        v = np.clip(value, 0, n - 1)
        i = np.minimum(v.astype(np.intp), n - 2)
        share = v - i.astype(np.float32)
        shares.append((np.float32(1) - share, share))
        low = low * n + i
    size = math.prod(bins)
    out = np.zeros(size)
    for corner in product((0, 1), repeat=len(bins)):
        weight = shares[0][corner[0]]
        offset = corner[0]
        for n, share, side in zip(bins[1:], shares[1:], corner[1:], strict=True):
            weight = weight * share[side]
            offset = offset * n + side
        count = np.bincount(low.ravel(), weights=weight.ravel(), minlength=size)
        out[offset:] += count[: size - offset]
    return out / low.size


def _even(p: Plane, k: NDArray[np.float32]) -> Plane:
    r = k.size - 1
    n = p.shape[0] - 2 * r
    out = p[r : r + n] * k[0]
    for j in range(1, r + 1):
        pair = p[r - j : r - j + n] + p[r + j : r + j + n]
        pair *= k[j]
        out += pair
    return out


def _odd(p: Plane, k: NDArray[np.float32]) -> Plane:
    r = k.size - 1
    n = p.shape[0] - 2 * r
    out = (p[r + 1 : r + 1 + n] - p[r - 1 : r - 1 + n]) * k[1]
    for j in range(2, r + 1):
        pair = p[r + j : r + j + n] - p[r - j : r - j + n]
        pair *= k[j]
        out += pair
    return out


def _halve_rows(a: Plane) -> Plane:
    if a.shape[0] % 2 == 0:
        out = a[0::2] + a[1::2]
        out *= np.float32(0.5)
        return out
    p = np.concatenate((a[:1], a, a[-1:]))
    return (p[0:-2:2] + p[2::2]) * np.float32(0.25) + p[1:-1:2] * np.float32(0.5)
