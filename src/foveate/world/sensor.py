"""From layers to pixels: spectra, shade, haze, clouds, blur, noise, quantisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.world.noise import fractal, smoothstep
from foveate.world.spectra import MATERIAL, bands, response

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.world.canvas import Site
    from foveate.world.spec import WorldSpec
    from foveate.world.terrain import Frame

type F32 = NDArray[np.float32]

PSF = 0.11  # share of the light that falls on each neighbour: about a Gaussian of 0.5 pixels
CLOUD_ALPHA = 0.35  # opacity from which a pixel is labelled cloud


def clouds(frame: Frame, mean: float, shift: tuple[float, float]) -> tuple[F32, F32, F32] | None:
    """Draw the clouds of a scene.

    Args:
        frame: The pixel grid.
        mean: Mean share of cloud over the scenes of the world.
        shift: (south, east) metres from a cloud to its shadow.

    Returns:
        Opacity, shadow and thickness, each (h, w) float32 from 0 to 1, or None for a clear sky.
    """
    cover = mean * 2.0 * float(frame.rng("cloud/share").random())
    if cover <= 0.004:
        return None
    extent = max(frame.shape) * frame.gsd
    pad = tuple(int(min(abs(s), 0.3 * extent) / frame.gsd) + 1 for s in shift)
    h, w = frame.shape
    field = fractal(
        frame.rng("cloud/field"),
        (h + 2 * pad[0], w + 2 * pad[1]),
        wavelength=min(max(0.28 * extent, 60.0), 2600.0) / frame.gsd,
        gain=0.52,
    )
    inner = field[pad[0] : pad[0] + h, pad[1] : pad[1] + w]
    flat = inner[::4, ::4].ravel()
    k = min(int((1.0 - cover) * flat.size), flat.size - 1)
    level = float(np.partition(flat, k)[k])
    # The opacity equals CLOUD_ALPHA at the level, so that the share is exact.
    alpha = smoothstep(field, level - 0.28, level + 0.42)
    dy = pad[0] if shift[0] < 0 else -pad[0]
    dx = pad[1] if shift[1] < 0 else -pad[1]
    shade = alpha[pad[0] + dy : pad[0] + dy + h, pad[1] + dx : pad[1] + dx + w]
    body = smoothstep(inner, level, level + 1.6)
    return alpha[pad[0] : pad[0] + h, pad[1] : pad[1] + w] * np.float32(0.97), shade, body


def expose(
    site: Site,
    light: F32,
    sky: tuple[F32, F32, F32] | None,
    valid: NDArray[np.bool_],
    spec: WorldSpec,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Simulate the sensor image of the canvas.

    Args:
        site: The painted scene.
        light: (h, w) float32 illumination, 1 on a flat sunny field.
        sky: Result of `clouds`.
        valid: (h, w) bool acquisition frame.
        spec: Bands, dtype and noise.

    Returns:
        (c, h, w) image, 0 outside `valid` and at least 1 inside.
    """
    canvas, frame = site.canvas, site.frame
    table = response(spec.bands)
    h, w = frame.shape
    out = np.zeros((spec.bands, h, w), np.dtype(spec.dtype))
    mix = canvas.mix.astype(np.float32) * np.float32(1 / 255.0)
    light = light * canvas.tone
    for k, (name, wave) in enumerate(bands(spec.bands)):
        lut = table[:, k]
        seen = lut[canvas.base]
        seen += (lut[canvas.other] - seen) * mix
        seen *= light
        if sky is not None:
            seen *= np.float32(1.0) - np.float32(0.62) * sky[1]
            # Thick cloud is brighter than its rim.
            white = lut[MATERIAL["cloud"]] * (np.float32(0.62) + np.float32(0.38) * sky[2])
            seen += (white - seen) * sky[0]
        # Path radiance of a clear atmosphere falls with the wavelength.
        blue = 0.49 / wave
        seen += np.float32(0.0042 * blue * blue * blue)
        seen = _blur(_blur(seen.T).T)
        seen += _grain(frame, name, (h, w)) * np.float32(0.003 * spec.noise)
        out[k] = np.where(valid, quantise(seen, spec.dtype), 0)
    return out


def _blur(a: F32) -> F32:
    """Apply the point spread function along axis 0."""
    out = a * np.float32(1.0 - 2.0 * PSF)
    out[1:] += a[:-1] * np.float32(PSF)
    out[:-1] += a[1:] * np.float32(PSF)
    out[0] += a[0] * np.float32(PSF)
    out[-1] += a[-1] * np.float32(PSF)
    return out


def _grain(frame: Frame, name: str, shape: tuple[int, int]) -> F32:
    """Near-normal noise of unit deviation: the sum of four uniform bytes (Irwin-Hall)."""
    bits = frame.rng(f"grain/{name}").integers(0, 2**32, shape, dtype=np.uint32)
    total = (bits & 255) + ((bits >> 8) & 255) + ((bits >> 16) & 255) + (bits >> 24)
    return (total.astype(np.float32) - np.float32(510.0)) * np.float32(1.0 / 147.8)


def quantise(seen: F32, dtype: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Convert reflectance to integers without the nodata value.

    uint16 is reflectance x 10000. uint8 is 8-bit display imagery: the
    square root of the reflectance (a gamma of 2), 255 at a reflectance of 0.55, the same for
    all bands, so that ``(value / 255) ** 2 * 0.55`` is the reflectance.

    Args:
        seen: (h, w) float32 reflectance.
        dtype: "uint8" or "uint16".

    Returns:
        (h, w) integers >= 1.
    """
    if dtype == "uint16":
        return np.clip(np.rint(seen * np.float32(10000.0)), 1, 65535).astype(np.uint16)
    root = np.sqrt(np.clip(seen, 0.0, None) * np.float32(1.0 / 0.55)) * np.float32(255.0)
    return np.clip(np.rint(root), 1, 255).astype(np.uint8)
