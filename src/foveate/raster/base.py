"""Basic types of rasters: pixels with a mask of valid pixels, and their sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from foveate.grid import Window
from foveate.raster.place import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.raster.place import Place


class Remark(NamedTuple):
    """A peculiarity of how a file is read, from which a `Note` is created.

    Attributes:
        about: Kind of the peculiarity.
        value: The band, value or number concerned, or "".
    """

    about: Literal[
        "alpha is data", "alpha is a mask", "nodata cannot be", "nodata is replaced",
        "nodata is a class", "transparent is a class", "white is zero", "few bits", "lying",
        "scale cannot be",
    ]  # fmt: skip
    value: str


@dataclass(frozen=True)
class SourceInfo:
    """Metadata of a raster.

    Attributes:
        shape: ``(height, width)`` in pixels.
        bands: Number of data bands (an alpha band is a mask, not data).
        dtype: NumPy name of the native dtype.
        nodata: Value that marks missing pixels in all bands, or None; see `Raster`. A float, except
            for integers beyond 2^53.
        geobox: Georeference, or None.
        fingerprint: Hash of the content.
        descriptions: One per band, possibly empty strings.
        masked: Whether pixels can be invalid (nodata, alpha, mask band, floats that may be NaN).
        unplaced: Reason why the georeference of the file is not used, as the end of a sentence
            "it ..."; usually "".
        rules: Rules of validity in words: "alpha band 4", "nodata 0"; all must hold.
        scaling: Declared (scale, offset) of each band, which convert stored to physical values; ()
            if none are declared.
        orientation: Orientation of the stored pixels, 1 to 8 as in TIFF and EXIF; they are read
            upright.
        lossy: Whether the compression is lossy.
        remarks: Peculiarities of how the file is read.
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
        """Place of the raster: on the Earth, in a plane, or none."""
        return place_of(self.geobox, self.unplaced)


@dataclass(frozen=True)
class Raster:
    """Pixels of one window.

    A pixel is invalid if all bands that were read have the nodata value, if any of them is NaN or
    infinite, or if it is masked by alpha or a mask band (see `foveate.raster.reading` for all
    rules). The first two rules differ on purpose: the nodata value is usually 0, which is also a
    measurement (black water in one band), and marks missing pixels only if every band has it; NaN
    is never a measurement, and NaN in one band makes the output of a model NaN.

    Attributes:
        data: (c, h, w) in the native dtype; values of invalid pixels are arbitrary.
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
    """Interface of rasters that are read by windows. Picklable; opened lazily in each process."""

    @property
    def info(self) -> SourceInfo:
        """Metadata of the raster."""
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
            window: Pixels to read; the whole raster if None. Pixels outside the raster are
                invalid.
            bands: 1-based band numbers in the requested order; all if None.
            out_shape: ``(height, width)`` to which the window is resampled (average if
                smaller, bilinear if larger); its native size if None.
        """
        ...


class BaseSource(ABC):
    """Base class of sources: `read` with the default window, the whole raster."""

    @property
    @abstractmethod
    def info(self) -> SourceInfo:
        """Metadata of the raster."""

    def read(
        self,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> Raster:
        """Read a window; see `Source.read`."""
        return self._read(window or Window(0, 0, *self.info.shape), bands, out_shape)

    @abstractmethod
    def _read(
        self, window: Window, bands: Sequence[int] | None, out_shape: tuple[int, int] | None
    ) -> Raster:
        """Read a window; see `Source.read`."""
