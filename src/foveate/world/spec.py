"""Specification of a procedural world, and the types of its scenes and objects.

Land cover is labelled per pixel with the classes of `CLASSES`; rare small objects are listed
one by one with the kinds of `OBJECT_KINDS`. Lengths are metres, positions are pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foveate.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

CLASSES: dict[str, str] = {
    "water": "#2f6fb7",
    "wetland": "#5fb3a3",
    "forest": "#1f6b2d",
    "grassland": "#a6cf5b",
    "cropland": "#f2d16b",
    "orchard": "#c98fc0",
    "bare": "#b59a78",
    "settlement": "#e7b3ab",
    "building": "#c0392b",
    "road": "#4a4a4a",
    "cloud": "#f4f4f4",
}
"""Land-cover legend: name -> display colour, in the order of the class indices.

A pixel has the class of what covers it from above. ``settlement`` is the ground between houses
(gardens, yards, parking); single trees belong to the class they stand in, tree rows and hedges
to ``forest``; a bridge is ``road``; ``cloud`` is opaque cloud and is meant to be ignored.
"""

NODATA_LABEL = 255
"""Label of pixels outside the acquisition frame."""

OBJECT_KINDS: dict[str, str] = {
    "boat": "water",
    "storage_tank": "building",
    "greenhouse": "building",
    "pool": "water",
    "wind_turbine": "building",
    "solar_park": "building",
    "sports_ground": "settlement",
    "pivot_field": "cropland",
}
"""Rare objects: kind -> the land-cover class that every pixel of the object is labelled with."""

THEMES = ("river", "hills", "coast", "town", "farmland", "lakes", "drylands")
"""Character of the scenes, in order: scene i has theme ``THEMES[i % 7]``."""


@dataclass(frozen=True)
class WorldSpec:
    """A world of procedural scenes; the same spec gives the same bytes on a machine.

    Attributes:
        scenes: Number of scenes, >= 1. Scene i does not depend on this number.
        size: (height, width) in pixels, each >= 64; one int means a square.
        bands: Number of bands, >= 1. One band is panchromatic; more are, in this order, red,
            green, blue, nir, swir16, swir22, rededge705, rededge740, rededge783, coastal,
            nir865, then further wavelengths between them (see `spectra.band_names`).
        gsd: Ground sample distance in metres, 0.1 to 100.
        dtype: "uint16" is reflectance x 10000; "uint8" is reflectance stretched for
            display (see `sensor.quantise`). 0 is nodata, so valid pixels are >= 1.
        seed: Seed of the whole world, >= 0.
        cloud: Mean share of a scene under opaque cloud, 0 to 0.8; a scene has 0 to 2 x this.
        nodata_border: Share of the scenes that are acquired in a rotated frame, with nodata
            in the corners; False is 0 and True is 1.
        noise: Standard deviation of the sensor noise relative to a typical sensor (1.0 is
            about 0.3 % reflectance), 0 to 10.

    Raises:
        ParameterError: A value is outside the range stated above.
    """

    scenes: int = 4
    size: int | tuple[int, int] = (1024, 1024)
    bands: int = 4
    gsd: float = 1.0
    dtype: str = "uint8"
    seed: int = 0
    cloud: float = 0.03
    nodata_border: bool | float = 0.25
    noise: float = 1.0

    def __post_init__(self) -> None:
        """Validate the values and normalise `size` to a pair."""
        _integer("scenes", self.scenes, 1, 10_000)
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        if not isinstance(size, tuple | list) or len(size) != 2:
            raise ParameterError(
                f"size={self.size!r}", "Allowed: an int or (height, width)", "Use size=1024."
            )
        for side in size:
            _integer("size", side, 64, 32_768)
        object.__setattr__(self, "size", (int(size[0]), int(size[1])))
        _integer("bands", self.bands, 1, 256)
        _number("gsd", self.gsd, 0.1, 100.0)
        if self.dtype not in ("uint8", "uint16"):
            raise ParameterError(
                f"dtype={self.dtype!r}", "Allowed: 'uint8' and 'uint16'", "Use dtype='uint8'."
            )
        _integer("seed", self.seed, 0, 2**63 - 1)
        _number("cloud", self.cloud, 0.0, 0.8)
        _number("nodata_border", self.nodata_border, 0.0, 1.0)
        _number("noise", self.noise, 0.0, 10.0)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        if isinstance(self.size, int):  # __post_init__ has made it a pair; this is for the checker
            return (self.size, self.size)
        return self.size

    def theme(self, index: int) -> str:
        """Character of scene `index`, one of `THEMES`."""
        return THEMES[index % len(THEMES)]

    def has_border(self, index: int) -> bool:
        """Whether scene `index` is acquired in a rotated frame with nodata outside."""
        share = float(self.nodata_border)
        return math.floor((index + 1) * share + 1e-9) > math.floor(index * share + 1e-9)


@dataclass(frozen=True)
class Object:
    """One rare object with its exact box.

    Attributes:
        kind: One of `OBJECT_KINDS`.
        y: First row of the box, pixels.
        x: First column of the box, pixels.
        h: Rows of the box, pixels, >= 1.
        w: Columns of the box, pixels, >= 1.
    """

    kind: str
    y: int
    x: int
    h: int
    w: int


@dataclass(frozen=True, eq=False)
class WorldScene:
    """One scene with its complete ground truth.

    Attributes:
        scene_id: "scene-00", "scene-01", ...
        image: (c, h, w) uint8 or uint16; 0 outside `valid`, >= 1 inside.
        valid: (h, w) bool, False outside the acquisition frame.
        labels: (h, w) uint8 indices into `CLASSES`, 255 outside `valid`.
        cloud: (h, w) bool, opaque cloud; ``labels`` is the cloud class exactly there.
        objects: Rare objects. Each box is the tight box of the object's own pixels (without
            its shadow), lies inside the scene and touches neither nodata nor cloud.
        geobox: CRS (UTM) and affine of the pixel grid.
        theme: Character of the scene, one of `THEMES`.
    """

    scene_id: str
    image: NDArray[np.uint8] | NDArray[np.uint16]
    valid: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    cloud: NDArray[np.bool_]
    objects: list[Object]
    geobox: GeoBox
    theme: str


def _integer(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParameterError(
            f"{name}={value!r}",
            f"Allowed: whole numbers from {low} to {high}.",
            f"Use {name}={low}.",
        )


def _number(name: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, int | float) or not low <= value <= high:  # NaN fails the comparison
        raise ParameterError(f"{name}={value!r}", f"Allowed: {low:g} to {high:g}")
