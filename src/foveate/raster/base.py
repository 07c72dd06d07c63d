"""What a raster is: pixels of a window, a mask of the valid ones, and something to read from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from foveate.raster.place import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.grid import Window
    from foveate.raster.place import Place


class Remark(NamedTuple):
    """Something about how a file is read that its reader should know; `Note`s are made of them.

    Attributes:
        about: What it is.
        value: The band, value or number that it is about, or "".
    """

    about: Literal[
        "alpha is data", "alpha is a mask", "nodata cannot be", "nodata is replaced",
        "nodata is a class", "transparent is a class", "white is zero", "few bits", "lying",
        "scale cannot be",
    ]  # fmt: skip
    value: str


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a raster without reading pixels.

    Attributes:
        shape: ``(height, width)`` in pixels.
        bands: Number of data bands (an alpha band is a mask, not data).
        dtype: NumPy name of the native dtype.
        nodata: Value that marks missing pixels in all bands, or None; see `Raster`. A float, but
            for whole numbers beyond 2^53.
        geobox: Georeference, or None.
        fingerprint: Hash of the content.
        descriptions: One per band, possibly empty strings.
        masked: Whether pixels can be invalid (nodata, alpha, mask band, floats that may be NaN).
        unplaced: Why a georeference that the file states is not used, as the end of a sentence
            "it ..."; mostly "".
        rules: By which rules pixels are valid, in words: "alpha band 4", "nodata 0"; all must hold.
        scaling: (scale, offset) of each band with which stored values become physical ones, as
            the file states them; () where it states none.
        orientation: How the pixels are stored, 1 to 8 as in TIFF and EXIF; they are read upright.
        lossy: Whether the compression changes values.
        remarks: What the reader should know of how the file is read.
    """

    shape: tuple[int, int]
    bands: int
    dtype: str
    nodata: float | int | None = None
    geobox: GeoBox | None = None
    fingerprint: str = ""
    descriptions: tuple[str, ...] = ()
    masked: bool = False
    unplaced: str = ""
    rules: tuple[str, ...] = ()
    scaling: tuple[tuple[float, float], ...] = ()
    orientation: int = 1
    lossy: bool = False
    remarks: tuple[Remark, ...] = ()

    @cached_property
    def place(self) -> Place:
        """Where it lies: on the Earth, in a plane of its own, or nowhere that is known."""
        return place_of(self.geobox, self.unplaced)


@dataclass(frozen=True)
class Raster:
    """Pixels of one window.

    A pixel is missing where all bands that were read hold the nodata value, where any of them is
    NaN or infinite, and where alpha or a mask band says so (`foveate.raster.reading` has all
    rules). The two rules differ on purpose: a
    nodata value is mostly 0, which also is a measurement (black water in one band) and then says
    nothing unless every band has it; NaN never is one, and a model that gets it in one band
    gives NaN.

    Attributes:
        data: (c, h, w) in the native dtype; what stands under invalid pixels has no meaning.
        valid: (h, w) bool.
    """

    data: NDArray[Any]
    valid: NDArray[np.bool_]

    @property
    def valid_share(self) -> float:
        """Share of valid pixels, 0 to 1."""
        return float(self.valid.mean()) if self.valid.size else 0.0


@runtime_checkable
class Source(Protocol):
    """Anything that can be read by windows. Picklable; opens lazily in each process."""

    @property
    def info(self) -> SourceInfo:
        """What is known without reading pixels."""
        ...

    def read(
        self,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> Raster:
        """Read a window.

        Args:
            window: Pixels to read; the whole raster when None. What lies outside the raster is
                invalid.
            bands: 1-based band numbers in the order wanted; all when None.
            out_shape: ``(height, width)`` to which the window is resampled (average when
                smaller, bilinear when larger); its own size when None.
        """
        ...
