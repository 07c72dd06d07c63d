"""Simulation of a low-resolution (LR) view of a high-resolution (HR) raster.

A coarser sensor with a given MTF and noise is simulated: every HR pixel is read (never an overview
of the file, nor every n-th pixel) and blurred by the point spread function of an LR pixel; then
noise is added.

The point spread function is the box of one LR pixel convolved with a Gaussian. Along one axis its
modulation transfer function (MTF) at the frequency f, in cycles per HR pixel, with r HR pixels to
an LR pixel, is ::

    MTF(f) = sinc(r f) * sinc(f) * exp(-2 (pi sigma f)^2),     sinc(x) = sin(pi x) / (pi x)

where sinc(f) is the response of the HR pixels themselves. At the Nyquist frequency of LR,
f = 1 / (2 r), the MTF is m for ::

    sigma = r * sqrt(2 ln(sinc(1/2) sinc(1/(2 r)) / m)) / pi    HR pixels.

The box alone has sinc(1/2) = 0.637, the upper limit of m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import ParameterError
from foveate.grid import Window
from foveate.raster import Raster, read_ahead, resize_geobox, write_cog
from foveate.raster.windows import HALF, weigh
from foveate.seeds import rng

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.raster import Source, SourceInfo

    Axis = tuple[NDArray[np.int64], NDArray[np.float64]]

_REACH = 5.0  # truncation in sigmas beyond the LR pixel; less than 1e-6 of the weight is lost
_BLOCK = 1 << 22  # HR pixels per band that are read at a time


@dataclass(frozen=True)
class View:
    """An LR image in the dtype of the HR image.

    Attributes:
        data: (c, h, w) in the native dtype; `nodata` in invalid pixels.
        valid: (h, w) bool: at least half of the weight of the point spread function is valid.
        nodata: Value of invalid pixels, not used by valid pixels; None if all pixels are valid.
        geobox: Georeference, or None.
    """

    data: NDArray[Any]
    valid: NDArray[np.bool_]
    nodata: float | None
    geobox: GeoBox | None


def low_shape(shape: tuple[int, int], ratio: float) -> tuple[int, int]:
    """Return the size in LR pixels of a raster of ``shape`` HR pixels.

    The size is rounded. LR pixels cover the same extent, so their true ratio differs slightly if
    `ratio` does not divide the shape.

    Raises:
        ParameterError: The ratio is not above 1.
    """
    if not (math.isfinite(ratio) and ratio > 1):
        raise ParameterError(
            f"ratio = {ratio:g}",
            "The ratio, the side of an LR pixel in HR pixels, must be above 1.",
            "For example --ratio 10.",
        )
    return (max(1, round(shape[0] / ratio)), max(1, round(shape[1] / ratio)))


def psf_sigma(ratio: float, mtf: float | None) -> float:
    """Return the sigma in HR pixels of the Gaussian of the point spread function.

    Args:
        ratio: HR pixels along the side of an LR pixel.
        mtf: MTF at the Nyquist frequency of LR, above 0; see the module docstring.

    Raises:
        ParameterError: The MTF is out of range.
    """
    box = float(np.sinc(0.5) * np.sinc(0.5 / ratio))
    if mtf is None or not 0 < mtf < box:
        given = "no MTF" if mtf is None else f"mtf = {mtf:g}"
        raise ParameterError(
            f"{given} for a ratio of {ratio:g}",
            f"The MTF at the Nyquist frequency must be above 0 and below {box:.3f}, the MTF of a "
            "square pixel without blur (sinc(1/2) = 0.637, times the response of an HR pixel).",
            "Most sensors have 0.15 to 0.3: --mtf 0.25.",
        )
    return ratio * math.sqrt(2 * math.log(box / mtf)) / math.pi


def psf_weights(high: int, low: int, mtf: float | None) -> Axis:
    """Return the HR pixels along one axis that contribute to each LR pixel, and their weights.

    The weight of an HR pixel is the integral of the Gaussian over it and over the LR pixel, in
    closed form, so `high` need not be a multiple of `low`. Weights sum to 1, also at the edges,
    where pixels outside the raster are ignored.

    Args:
        high: Number of HR pixels.
        low: Number of LR pixels over the same extent.
        mtf: See `psf_sigma`.

    Returns:
        (k, low) int64 pixels and (k, low) float64 weights, 0 for pixels outside the raster.
    """
    ratio = high / low
    sigma = psf_sigma(ratio, mtf)
    left = np.arange(low) * ratio
    reach = _REACH * sigma
    first = np.floor(left - reach)
    index = first + np.arange(int(np.ceil(ratio + 2 * reach)) + 1)[:, None]
    # F is the second antiderivative of the Gaussian; the double integral is four values of F.
    near, far = left - index, left + ratio - index
    weight = (
        _second_antiderivative(far, sigma) - _second_antiderivative(near, sigma)
        - _second_antiderivative(far - 1, sigma) + _second_antiderivative(near - 1, sigma)
    )  # fmt: skip
    inside = (index >= 0) & (index < high)
    weight = np.where(inside, np.maximum(weight, 0), 0)
    return np.clip(index, 0, high - 1).astype(np.int64), weight / weight.sum(axis=0)


def _second_antiderivative(t: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """F with F'' the density of a Gaussian: t Phi(t / sigma) + sigma phi(t / sigma)."""
    from scipy.special import ndtr

    z = t / sigma
    return t * ndtr(z) + sigma * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def simulate(
    source: Source,
    ratio: float,
    *,
    mtf: float | None = 0.25,
    snr: float | None = 100.0,
    seed: int = 0,
    name: str = "",
    block: int | None = None,
) -> View:
    """Simulate the LR view of a raster.

    HR is read in strips of rows, with the margin of the point spread function, so that memory holds
    the LR image and one strip of HR for any size of raster. The result does not depend on the
    height of the strips.

    Args:
        source: HR pixels. Only valid pixels contribute.
        ratio: Side of an LR pixel in HR pixels, above 1, not necessarily an integer; see
            `low_shape`.
        mtf: MTF at the Nyquist frequency of LR; see `psf_sigma`.
        snr: Signal-to-noise ratio: the standard deviation of the Gaussian noise of a band is its
            mean (over valid LR pixels) divided by `snr`. None for no noise.
        seed: Seed of the noise.
        name: Scene id; the noise of each scene is different.
        block: LR rows that are computed at a time; None: chosen by memory.

    Raises:
        ParameterError: The ratio, the MTF or the signal-to-noise ratio is out of range.
        DataError: The file cannot be read.
    """
    if snr is not None and not snr > 0:
        raise ParameterError(
            f"snr = {snr:g}",
            "The signal-to-noise ratio must be positive; None is no noise.",
            "For example --snr 100.",
        )
    info = source.info
    shape = low_shape(info.shape, ratio)
    axes = tuple(psf_weights(n, m, mtf) for n, m in zip(info.shape, shape, strict=True))
    blurred = _blurred(source, axes[0], axes[1], block)
    if snr is not None:
        _add_noise(blurred, snr, rng(seed, f"observe/noise/{name}"))
    return _native(blurred, info, resize_geobox(info.geobox, shape))


def write_view(path: str | Path, view: View, descriptions: tuple[str, ...] = ()) -> None:
    """Write an LR view as a cloud-optimised GeoTIFF.

    Raises:
        StorageError: The file cannot be written.
    """
    write_cog(
        path, view.data, geobox=view.geobox, nodata=view.nodata, descriptions=descriptions
    )  # fmt: skip


def _blurred(source: Source, rows: Axis, cols: Axis, block: int | None) -> Raster:
    """Return (c, h, w) float means under the point spread function, and their valid mask."""
    info = source.info
    low = (rows[0].shape[1], cols[0].shape[1])
    # float32 represents 16-bit values exactly; wider types need float64.
    narrow = np.dtype(info.dtype).itemsize <= 2 or info.dtype == "float32"
    data = np.empty((info.bands, *low), np.float32 if narrow else np.float64)
    valid = np.empty(low, bool)
    step = block or max(1, int(_BLOCK // (info.shape[1] * (info.shape[0] / low[0]))))
    starts = range(0, low[0], step)

    def window(number: int) -> Window:
        index = rows[0][:, starts[number] : starts[number] + step]
        top, bottom = int(index.min()), int(index.max()) + 1
        return Window(top, 0, bottom - top, info.shape[1])

    ahead = read_ahead([source], len(starts), lambda number: [(source, window(number))])
    for number, start in enumerate(starts):
        ahead.at(number)
        stop = min(start + step, low[0])
        index, weight = rows[0][:, start:stop], rows[1][:, start:stop]
        top = int(index.min())
        part = source.read(window(number))
        means, valid_weight = weigh(part, (index - top, weight), cols)
        data[:, start:stop], valid[start:stop] = means, valid_weight >= HALF
    return Raster(data, valid)


def _add_noise(blurred: Raster, snr: float, random: np.random.Generator) -> None:
    """Add Gaussian noise in place, row by row in the order of the bands."""
    for band in blurred.data:
        mean = float(band[blurred.valid].mean(dtype=np.float64)) if blurred.valid.any() else 0.0
        for y in range(len(band)):
            band[y] += random.standard_normal(band.shape[1]) * (abs(mean) / snr)


def _native(blurred: Raster, info: SourceInfo, geobox: GeoBox | None) -> View:
    """Round to the native dtype; invalid pixels are set to nodata, valid pixels never are."""
    dtype = np.dtype(info.dtype)
    nodata = _nodata(info, dtype, complete=bool(blurred.valid.all()))
    data = blurred.data
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        data = np.clip(np.rint(data), limits.min, limits.max)
    data = data.astype(dtype)
    if nodata is not None:
        if not math.isnan(nodata):
            data[data == dtype.type(nodata)] = _neighbour(nodata, dtype)
        data[:, ~blurred.valid] = nodata
    return View(data, blurred.valid, nodata, geobox)


def _nodata(info: SourceInfo, dtype: np.dtype[Any], *, complete: bool) -> float | None:
    """Return the value of missing pixels: the nodata of the raster if the dtype can hold it."""
    floating = np.issubdtype(dtype, np.floating)
    if info.nodata is not None:
        limits = np.finfo(dtype) if floating else np.iinfo(dtype)
        if math.isnan(info.nodata):
            if floating:
                return info.nodata
        elif limits.min <= info.nodata <= limits.max and (floating or info.nodata.is_integer()):
            return info.nodata
    if complete:
        return None
    return float("nan") if floating else float(np.iinfo(dtype).min)


def _neighbour(nodata: float, dtype: np.dtype[Any]) -> Any:
    """Return the value next to nodata, towards the middle of the range of the dtype."""
    if np.issubdtype(dtype, np.floating):
        return np.nextafter(dtype.type(nodata), dtype.type(0 if nodata else 1))
    limits = np.iinfo(dtype)
    return int(nodata) + (1 if int(nodata) <= (int(limits.min) + int(limits.max)) // 2 else -1)
