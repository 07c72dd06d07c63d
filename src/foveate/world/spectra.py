"""Reflectance of the materials of a scene, and the spectral bands.

The spectra follow the shapes in the USGS Spectral Library version 7 (Kokaly et al.
2017): chlorophyll absorption and red edge, bright dry soil, water absorption beyond 0.9 um,
bright and flat paint. They are typical values for broad bands, not measurements.
"""

from __future__ import annotations

import numpy as np

WAVELENGTHS = (0.49, 0.56, 0.665, 0.72, 0.84, 1.61, 2.2)
"""Wavelengths in micrometres at which the materials are given."""

# blue, green, red, red edge, NIR, SWIR 1.6, SWIR 2.2: reflectance in percent
_TABLE: dict[str, tuple[float, ...]] = {
    "water_deep": (3.4, 3.0, 1.7, 1.2, 0.8, 0.3, 0.2),
    "water_shallow": (5.6, 7.6, 4.4, 2.8, 1.5, 0.5, 0.3),
    "water_silt": (5.2, 7.4, 6.6, 5.0, 2.3, 0.6, 0.4),
    "water_bog": (2.0, 2.5, 2.1, 1.8, 1.2, 0.4, 0.3),
    "foam": (24.0, 25.0, 24.0, 22.0, 18.0, 6.0, 4.0),
    "reed": (4.0, 7.4, 6.9, 15.0, 26.0, 17.0, 9.0),
    "marsh": (3.0, 4.4, 3.9, 6.5, 10.0, 5.5, 3.0),
    "conifer": (1.9, 3.0, 2.2, 8.5, 20.5, 8.5, 3.7),
    "broadleaf": (2.4, 4.9, 2.9, 14.5, 36.0, 17.0, 7.4),
    "understorey": (1.5, 2.2, 1.8, 4.5, 9.5, 5.5, 3.0),
    "grass_fresh": (3.6, 7.8, 4.6, 18.0, 37.5, 20.5, 10.0),
    "grass_dry": (6.6, 10.6, 12.6, 17.5, 26.5, 28.0, 18.5),
    "heath": (4.0, 5.9, 6.6, 11.5, 19.0, 18.0, 11.0),
    "crop_dense": (2.8, 6.7, 3.2, 18.5, 46.0, 19.5, 8.2),
    "crop_young": (4.1, 8.6, 5.3, 17.0, 34.0, 22.0, 12.0),
    "maize": (2.6, 5.4, 3.2, 14.5, 36.5, 17.0, 7.6),
    "ripe": (9.2, 14.6, 18.4, 23.0, 31.0, 30.5, 20.0),
    "stubble": (10.6, 14.6, 18.2, 21.5, 27.5, 33.5, 25.5),
    "rape": (4.6, 16.2, 15.4, 24.0, 42.0, 22.0, 11.0),
    "soil_brown": (7.0, 9.4, 12.4, 14.4, 18.5, 25.5, 22.0),
    "soil_dark": (4.9, 6.4, 8.3, 9.8, 13.0, 18.5, 16.5),
    "soil_red": (6.4, 9.4, 17.0, 20.0, 24.5, 32.0, 27.5),
    "soil_pale": (14.5, 19.6, 25.2, 27.6, 32.0, 39.5, 34.0),
    "sand": (20.5, 26.5, 31.5, 33.5, 36.5, 42.0, 37.0),
    "wet_sand": (10.2, 13.2, 15.6, 16.5, 17.5, 15.0, 11.0),
    "rock": (14.5, 17.2, 19.2, 20.2, 22.0, 25.0, 22.5),
    "limestone": (26.5, 30.5, 33.5, 34.6, 36.5, 38.5, 33.5),
    "dirt": (12.2, 15.8, 19.4, 21.4, 25.0, 31.0, 27.0),
    "gravel": (15.6, 17.8, 19.6, 20.4, 22.0, 25.5, 23.5),
    "asphalt": (7.6, 8.2, 8.6, 9.0, 10.0, 13.0, 12.2),
    "asphalt_old": (10.8, 11.7, 12.4, 12.9, 14.1, 17.5, 16.5),
    "concrete": (19.5, 22.2, 23.9, 24.6, 26.5, 29.5, 26.5),
    "roof_tile": (7.4, 9.9, 19.4, 22.0, 25.5, 31.0, 27.5),
    "roof_brown": (5.8, 7.2, 10.4, 12.0, 15.5, 21.0, 19.0),
    "roof_slate": (7.7, 8.1, 8.5, 8.8, 9.9, 12.5, 12.0),
    "roof_grey": (16.5, 17.2, 17.6, 18.0, 19.0, 20.5, 19.0),
    "roof_metal": (35.0, 36.5, 37.0, 37.2, 37.8, 35.5, 32.0),
    "roof_blue": (23.0, 17.5, 12.0, 14.0, 22.5, 22.0, 19.0),
    "roof_flat": (10.8, 11.5, 12.0, 12.3, 13.2, 15.5, 14.5),
    "white": (52.0, 54.0, 55.0, 55.4, 56.0, 44.0, 36.0),
    "glass": (19.5, 22.0, 20.5, 25.0, 32.0, 21.0, 14.0),
    "panel": (5.2, 4.2, 3.8, 4.4, 6.4, 6.0, 5.0),
    "pool": (30.0, 28.5, 10.6, 5.4, 2.8, 0.6, 0.4),
    "track_red": (8.5, 11.0, 26.0, 29.0, 33.0, 33.0, 28.0),
    "turf": (3.4, 9.4, 4.4, 19.5, 42.0, 20.0, 9.4),
    "car": (16.0, 15.5, 17.0, 17.5, 18.5, 17.0, 14.0),
    "cloud": (66.0, 67.0, 68.0, 68.5, 70.0, 50.0, 38.0),
}

MATERIALS = tuple(_TABLE)
"""Names of the materials, in the order of their indices."""

REFLECTANCE = np.array(list(_TABLE.values())) / 100.0
"""(m, 7) float64 reflectance of each material at `WAVELENGTHS`."""

MATERIAL: dict[str, int] = {name: k for k, name in enumerate(MATERIALS)}
"""Index of each material."""

_BANDS: tuple[tuple[str, float], ...] = (
    ("red", 0.665),
    ("green", 0.56),
    ("blue", 0.49),
    ("nir", 0.84),
    ("swir16", 1.61),
    ("swir22", 2.2),
    ("rededge705", 0.705),
    ("rededge740", 0.74),
    ("rededge783", 0.783),
    ("coastal", 0.443),
    ("nir865", 0.865),
)


def bands(count: int) -> list[tuple[str, float]]:
    """Names and centre wavelengths (micrometres) of the first `count` bands.

    >>> [name for name, _ in bands(4)]
    ['red', 'green', 'blue', 'nir']
    """
    if count == 1:
        return [("pan", 0.6)]
    out = list(_BANDS[:count])
    more = count - len(out)
    # Further bands fill the spectrum evenly: a coarse imaging spectrometer.
    for k in range(more):
        wave = 0.45 + (k + 0.5) * (2.3 - 0.45) / more
        out.append((f"nm{round(wave * 1000)}", round(wave, 4)))
    return out


def band_names(count: int) -> list[str]:
    """Descriptions of the bands of an image with `count` bands."""
    return [name for name, _ in bands(count)]


def response(count: int) -> np.ndarray:
    """Reflectance of every material in every band: (m, count) float32.

    A panchromatic band is the mean of blue, green, red and half of the red edge.
    """
    if count == 1:
        pan = REFLECTANCE[:, 0] + REFLECTANCE[:, 1] + REFLECTANCE[:, 2] + 0.5 * REFLECTANCE[:, 3]
        return (pan / 3.5)[:, None].astype(np.float32)
    waves = [wave for _, wave in bands(count)]
    return np.stack([np.interp(waves, WAVELENGTHS, row) for row in REFLECTANCE]).astype(np.float32)
