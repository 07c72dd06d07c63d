"""Rules for reading stored values: validity of pixels, and meaning of values.

`decide` implements all rules, as a function of the header (`FileHeader`) and of the options of the
reader. ``docs/what-counts.md`` specifies them as a table, with a test for each row.

A pixel is valid if it satisfies every rule of the file:

==============================  ==================================================================
alpha band                      alpha is above 0; partly transparent pixels are valid
mask band                       the mask is above 0, in the file or in a sidecar (``.msk``)
colour key                      the pixel does not have the transparent colour of a PNG
palette                         the entry is not fully transparent
nodata                          not all bands that are read have their nodata value
finite                          no band that is read is NaN or infinite
==============================  ==================================================================

A nodata value given by the user replaces the declared value, and no other rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.raster.base import Remark
from foveate.raster.orientation import TURNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.raster.orientation import Turn

Mask = Literal["", "dataset", "bands", "values", "key"]
Number = float | int

OPAQUE = 0.5  # maximum share of partly opaque among nonzero pixels of an alpha band
_DOUBT = 0.05  # the same share above which a note is created
_EXPANDED = (1, 2, 4)  # bits per sample of gray pictures; other bit depths only pack integers
_MASKS = {
    "dataset": "mask band", "bands": "mask of each band", "values": "nodata as GDAL reads it",
    "key": "transparent colour",
}  # fmt: skip
_EXACT = 2**53  # integers up to this value are exact as float64


@dataclass(frozen=True)
class FileHeader:
    """Properties of the pixels of a file.

    Attributes:
        driver: GDAL's name of the format.
        dtypes: One per band.
        descriptions: One per band, possibly empty.
        alpha: 1-based bands marked as alpha.
        between: Share of not fully opaque among the nonzero pixels of the alpha band, from a
            sample; 0 without alpha band, and for a PNG, whose fourth channel is always alpha.
        nodata: One per band: the declared value, or None.
        nodata_text: The declared value if it is out of range for the dtype, or "".
        mask: "dataset" for one mask of all bands, "bands" for one per band, "values" if the exact
            nodata value is only available in GDAL, "key" for a transparent colour, or "".
        key: The transparent colour, one value per band, or ().
        palette: (n, 4) uint8 colours and alpha as bytes, or None.
        bits: Bits per sample if they are fewer than those of the dtype, otherwise 0.
        white_is_zero: Whether a gray picture is stored with white as 0.
        scaling: (scale, offset) of each band; () if no band declares them.
        unscalable: Declared scale and offset that are invalid, or "".
        orientation: 1 to 8; see `TURNS`.
        lossy: Whether the compression is lossy.
        georeferenced: Whether the stored rows and columns are georeferenced.
    """

    driver: str
    dtypes: tuple[str, ...]
    descriptions: tuple[str, ...]
    alpha: tuple[int, ...] = ()
    between: float = 0.0
    nodata: tuple[Number | None, ...] = ()
    nodata_text: str = ""
    mask: Mask = ""
    key: tuple[int, ...] = ()
    palette: bytes | None = None
    bits: int = 0
    white_is_zero: bool = False
    scaling: tuple[tuple[float, float], ...] = ()
    unscalable: str = ""
    orientation: int = 1
    lossy: bool = False
    georeferenced: bool = False

    def scaling_of(self, bands: tuple[int, ...]) -> tuple[tuple[float, float], ...]:
        """Return (scale, offset) of 1-based bands; () if no band declares them."""
        return tuple(self.scaling[b - 1] for b in bands) if self.scaling else ()


@dataclass(frozen=True)
class LabelValues:
    """Values of the classes of a mask in a classes file.

    Attributes:
        spans: (low, high) of the values of its classes, both included; 0xRRGGBB for colours. These
            values are never nodata.
        stored: Bits per sample at which integers are stored values, not displayed gray values.
    """

    spans: tuple[tuple[float, float], ...] = ()
    stored: tuple[int, ...] = ()

    def name(self, values: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (n,) whether values belong to a class."""
        low, high = np.array(self.spans).reshape(-1, 2).T
        return ((values[:, None] >= low) & (values[:, None] <= high)).any(axis=1)


@dataclass(frozen=True)
class Asked:
    """Options of the reader of a file; see `FileSource`."""

    nodata: Number | None = None
    palette: bool = True
    physical: bool = False
    labels: LabelValues | None = None


@dataclass(frozen=True)
class Reading:
    """How a file is read.

    Attributes:
        indexes: 1-based data bands of the file.
        dtype: dtype of the pixels that are read.
        descriptions: One per band that is read.
        alpha: 1-based alpha bands of the file.
        mask: See `FileHeader`.
        nodata: Stored value of missing pixels of each data band, or None.
        levels: Stored value -> gray or colour, as bytes of (n,) or (n, 3); None if values are read
            as stored.
        shown: Stored value -> whether it is valid, as bytes of (n,); None if all are valid.
        scaling: (scale, offset) to apply to each data band; () for stored values.
        turn: Transform of the stored pixels to the upright picture.
        overviews: Whether the overviews of the file have the same meaning as its pixels. GDAL
            built them without a given nodata value, and averages indices and packed bits.
        rules: Rules of validity in words.
        remarks: Peculiarities of how the file is read.
    """

    indexes: tuple[int, ...]
    dtype: str
    descriptions: tuple[str, ...]
    alpha: tuple[int, ...]
    mask: Mask
    nodata: tuple[Number | None, ...]
    levels: bytes | None
    shown: bytes | None
    scaling: tuple[tuple[float, float], ...]
    turn: Turn
    overviews: bool
    rules: tuple[str, ...]
    remarks: tuple[Remark, ...]

    @property
    def bands(self) -> int:
        """Number of bands that are read."""
        return len(self.descriptions)

    @property
    def colours(self) -> bool:
        """Whether a palette is read as its colours."""
        return self.bands != len(self.indexes)

    @cached_property
    def value(self) -> Number | None:
        """The common nodata value of all bands as read, or None."""
        values = set(self.nodata)
        if len(values) != 1 or None in values or self.colours:
            return None
        value = next(iter(self.nodata))
        if self.scaling:
            return math.nan
        if self.levels is not None and value is not None:
            return float(self.levels[int(value)])
        return value

    @cached_property
    def table(self) -> NDArray[np.uint8] | None:
        """`levels` as an array: (n,) grays, or (n, 3) colours."""
        if self.levels is None:
            return None
        table = np.frombuffer(self.levels, np.uint8)
        return table.reshape(-1, 3) if self.colours else table


@lru_cache(maxsize=4096)  # files of a folder often share one header, and therefore one reading
def decide(header: FileHeader, asked: Asked) -> Reading:
    """Decide how a file is read.

    Raises:
        DataError: The pixels are complex numbers.
        ParameterError: The given nodata value is out of range for the dtype.
    """
    remarks: list[Remark] = []
    alpha, data = _alpha(header, remarks)
    dtypes = [header.dtypes[b - 1] for b in data]
    _refuse_complex(dtypes)
    dtype = np.result_type(*dtypes)
    nodata, mask = _nodata(header, asked, data, dtype, remarks)
    levels, shown, descriptions = _levels(header, asked, data, remarks)
    if len(descriptions) != len(data):
        dtype = np.dtype(np.uint8)  # of the colours; the nodata value is still an index
    if asked.labels is not None:
        named = _Named(header, asked.labels, levels, colours=asked.palette)
        if named.has(nodata):
            remarks.append(Remark("nodata is a class", named.text(nodata)))
            nodata = (None,) * len(nodata)
        if mask == "key" and named.has(header.key):
            remarks.append(Remark("transparent is a class", ""))
            mask = ""
    scaling: tuple[tuple[float, float], ...] = ()
    if asked.physical:
        scaling = header.scaling_of(data) or ((1.0, 0.0),) * len(data)
        dtype = np.dtype(np.float32 if np.can_cast(dtype, np.float32) else np.float64)
    if header.unscalable:
        remarks.append(Remark("scale cannot be", header.unscalable))
    turn = TURNS[1 if header.georeferenced else header.orientation]
    if header.georeferenced and header.orientation != 1:
        remarks.append(Remark("lying", str(header.orientation)))
    return Reading(
        indexes=data, dtype=dtype.name, descriptions=descriptions, alpha=alpha, mask=mask,
        nodata=nodata, levels=levels, shown=shown, scaling=scaling, turn=turn,
        overviews=_has_equal_overviews(header, asked, data),
        rules=_rules(header, asked, dtypes, alpha=alpha, mask=mask, nodata=nodata, shown=shown),
        remarks=tuple(remarks),
    )  # fmt: skip


def _has_equal_overviews(header: FileHeader, asked: Asked, data: tuple[int, ...]) -> bool:
    """Return `Reading.overviews`."""
    own = asked.nodata is None
    if asked.nodata is not None and header.nodata and header.mask != "values":
        declared = [header.nodata[b - 1] for b in data]
        own = all(v is not None and number(v) == number(asked.nodata) for v in declared)
    return own and header.palette is None and asked.labels is None and header.bits not in _EXPANDED


def _refuse_complex(dtypes: list[str]) -> None:
    if any(dtype.startswith("complex") for dtype in dtypes):
        raise DataError(
            f"the pixels are complex numbers ({', '.join(sorted(set(dtypes)))})",
            "Pixels must be integers or real floating-point numbers.",
            "Compute the magnitude: gdal_calc.py -A in.tif --calc='abs(A)' --type=Float32 "
            "--outfile=out.tif.",
        )


def _rules(
    header: FileHeader,
    asked: Asked,
    dtypes: list[str],
    *,
    alpha: tuple[int, ...],
    mask: Mask,
    nodata: tuple[Number | None, ...],
    shown: bytes | None,
) -> tuple[str, ...]:
    """Return the rules of validity in words."""
    rules = [f"alpha band {b}" for b in alpha]
    if mask:
        rules.append(f"{_MASKS[mask]} {', '.join(map(str, header.key))}".rstrip())
    stated = [number(v) for v in nodata if v is not None]
    if stated:
        values = stated[0] if len(set(stated)) == 1 else ", ".join(stated)
        rules.append(f"{'nodata' if asked.nodata is None else '--nodata'} {values}")
    if shown is not None:
        rules.append("palette entries that are not transparent")
    if any(np.issubdtype(d, np.floating) for d in dtypes):
        rules.append("finite values")
    return tuple(rules)


def holds(dtype: np.dtype[Any], value: Number) -> bool:
    """Return whether a dtype can represent a value (NaN: only floats)."""
    if np.issubdtype(dtype, np.floating):
        with np.errstate(over="ignore"):
            return math.isnan(value) or math.isinf(value) or bool(np.isfinite(dtype.type(value)))
    limits = np.iinfo(dtype)
    return math.isfinite(value) and value == int(value) and limits.min <= int(value) <= limits.max


def number(value: Number) -> str:
    """Format a nodata value as it is typed."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < _EXACT):
        return str(int(value))
    return repr(float(value))


def exact(value: Number) -> Number:
    """Return a number as a float if this is exact, otherwise as an integer."""
    return float(value) if not isinstance(value, int) or abs(value) <= _EXACT else value


def _alpha(header: FileHeader, remarks: list[Remark]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the alpha bands and the data bands."""
    alpha = header.alpha
    if alpha and header.between > OPAQUE:
        remarks.append(Remark("alpha is data", str(alpha[0])))
        alpha = ()
    elif alpha and header.between > _DOUBT:
        remarks.append(Remark("alpha is a mask", str(alpha[0])))
    return alpha, tuple(b for b in range(1, len(header.dtypes) + 1) if b not in alpha)


def _nodata(
    header: FileHeader, asked: Asked, data: tuple[int, ...], dtype: np.dtype[Any],
    remarks: list[Remark],
) -> tuple[tuple[Number | None, ...], Mask]:  # fmt: skip
    """Return the nodata value of each data band, and the mask of the file."""
    declared = tuple(header.nodata[b - 1] if header.nodata else None for b in data)
    invalid = header.nodata_text
    for i, value in enumerate(declared):
        if value is not None and not holds(np.dtype(header.dtypes[data[i] - 1]), value):
            invalid = number(value)
            declared = (*declared[:i], None, *declared[i + 1 :])
    if asked.nodata is None:
        if invalid:
            remarks.append(Remark("nodata cannot be", f"{invalid}, {dtype.name}"))
        return declared, header.mask
    _check_stated(asked.nodata, dtype, declared)
    others = {number(v) for v in declared if v is not None} - {number(asked.nodata)}
    if others or header.mask == "values":
        remarks.append(Remark("nodata is replaced", ", ".join(sorted(others))))
    mask = "" if header.mask == "values" else header.mask
    return (asked.nodata,) * len(data), mask


def _check_stated(value: Number, dtype: np.dtype[Any], declared: tuple[Number | None, ...]) -> None:
    if math.isinf(value):
        raise ParameterError(
            f"nodata {value!r}",
            "A nodata value must be finite or NaN.",
            "Remove it: infinite values and NaN are always missing.",
        )
    if holds(dtype, value):
        return
    in_file = next((v for v in declared if v is not None), None)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        allowed = f"The pixels are {dtype.name}: integers from {limits.min} to {limits.max}."
    else:
        allowed = f"The pixels are {dtype.name}: at most {np.finfo(dtype).max:g}."
    raise ParameterError(
        f"nodata {number(value)} is out of range for the pixels",
        allowed,
        "Remove it (--nodata, nodata=...)"
        + (f": the file declares {number(in_file)}." if in_file is not None else "."),
    )


def _levels(
    header: FileHeader, asked: Asked, data: tuple[int, ...], remarks: list[Remark]
) -> tuple[bytes | None, bytes | None, tuple[str, ...]]:
    """Return `Reading.levels`, `Reading.shown`, and the names of the bands."""
    names = tuple(header.descriptions[b - 1] for b in data)
    labels = asked.labels
    if header.palette is not None:
        table = np.frombuffer(header.palette, np.uint8).reshape(-1, 4)
        shown = table[:, 3] > 0
        if labels is not None and not shown.all():
            values = _colour(table) if asked.palette else np.arange(len(table))
            named = labels.name(values) & ~shown
            if named.any():
                remarks.append(Remark("transparent is a class", ""))
            shown |= named
        visible = None if shown.all() else shown.tobytes()
        if not asked.palette:
            return None, visible, names
        return table[:, :3].tobytes(), visible, ("red", "green", "blue")
    if {header.dtypes[b - 1] for b in data} != {"uint8"}:
        return None, None, names
    top = 2 ** (header.bits or 8) - 1
    values = np.minimum(np.arange(256), top)
    if header.white_is_zero:
        remarks.append(Remark("white is zero", ""))
        values = top - values
    if header.bits in _EXPANDED and not (labels and header.bits in labels.stored):
        if labels is not None:
            remarks.append(Remark("few bits", str(header.bits)))
        values *= 255 // top
    plain = np.array_equal(values[: top + 1], np.arange(top + 1))
    return None if plain else values.astype(np.uint8).tobytes(), None, names


@dataclass(frozen=True)
class _Named:
    """Tests whether stored values of a mask belong to a class, and are therefore not nodata."""

    header: FileHeader
    labels: LabelValues
    levels: bytes | None
    colours: bool  # whether a palette is read as its colours

    def has(self, stored: tuple[Number | None, ...]) -> bool:
        """Return whether the value of all bands, an index or a colour, belongs to a class."""
        value = self._value(stored)
        return value is not None and bool(self.labels.name(np.array([value]))[0])

    def text(self, stored: tuple[Number | None, ...]) -> str:
        """Return the value in the notation of classes files."""
        colour = len(stored) == 3 or (self.colours and self.header.palette is not None)
        return f"#{self._value(stored):06X}" if colour else str(self._value(stored))

    def _value(self, stored: tuple[Number | None, ...]) -> int | None:
        whole = [int(v) for v in stored if v is not None and math.isfinite(v) and v == int(v)]
        if len(whole) != len(stored) or len(whole) not in (1, 3):
            return None
        if len(whole) == 3:
            return whole[0] << 16 | whole[1] << 8 | whole[2]
        if self.header.palette is not None:
            table = np.frombuffer(self.header.palette, np.uint8).reshape(-1, 4)
            return int(_colour(table)[whole[0]]) if self.colours else whole[0]
        return self.levels[whole[0]] if self.levels is not None else whole[0]


def _colour(table: NDArray[np.uint8]) -> NDArray[np.int64]:
    red, green, blue = table[:, :3].astype(np.int64).T
    return (red << 16) | (green << 8) | blue
