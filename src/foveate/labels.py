"""Legends of masks, and class counts.

The pixels of a mask are class indices or RGB colours; a classes file names them::

    classes: {water: "#E2A929", road: "#6EC1E4", unlabeled: ["#9B9B9B", "#000000"]}
    ignore: [unlabeled]

or, for masks with one band, values, lists of values, ranges and limits::

    classes: {background: "<128", road: 200, crops: [131, 140], forest: "150-199"}

A list contains exactly its values, not a range. Ignored classes are excluded from all counts and
from the number of classes C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.classes_file import LARGEST, Span, parse_classes, span_of
from foveate.documents import read_document
from foveate.errors import DataError
from foveate.files import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

IGNORED = -1
_PALETTE = (
    "#4E79A7", "#F28E2B", "#59A14F", "#E15759", "#B07AA1", "#EDC948", "#76B7B2", "#FF9DA7",
    "#9C755F", "#86BCB6", "#D37295", "#8CD17D", "#B6992D", "#499894", "#A0CBE8", "#FFBE7D",
)  # fmt: skip
_MAX_TABLE = 1 << 16  # largest range of values for a lookup table


@dataclass(frozen=True)
class _Table:
    """Sorted, disjoint spans of values, and the class number of each."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    codes: NDArray[np.int16]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Span, int]]) -> Self:
        ordered = sorted(pairs)
        low, high = (np.array([span[k] for span, _ in ordered], np.float64) for k in range(2))
        return cls(low, high, np.array([code for _, code in ordered], np.int16))

    def find(self, values: NDArray[Any]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """Return the class number of each of (n,) values, and whether it is in a span."""
        if not values.size or not np.issubdtype(values.dtype, np.integer):
            return self._search(values, self.low, self.high)
        first, last = int(values.min()), int(values.max())
        if last - first < min(values.size, _MAX_TABLE):  # search once per value, not per pixel
            codes, known = self._search(np.arange(first, last + 1), *self._whole)
            return codes[values - first], known[values - first]
        return self._search(values, *self._whole)

    @cached_property
    def _whole(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lowest and highest integer of each span; the same array if all spans are values."""
        limits = np.clip([np.ceil(self.low), np.floor(self.high)], -LARGEST, LARGEST)
        low, high = limits.astype(np.int64)
        low = np.where(np.isneginf(self.low), np.iinfo(np.int64).min, low)
        high = np.where(np.isposinf(self.high), np.iinfo(np.int64).max, high)
        return low, low if (low == high).all() else high

    def _search(
        self, values: NDArray[Any], low: NDArray[Any], high: NDArray[Any]
    ) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        index = np.maximum(np.searchsorted(low, values, side="right") - 1, 0)
        if low is high:
            return self.codes[index], low[index] == values
        return self.codes[index], (low[index] <= values) & (values <= high[index])

    def overlap(self) -> float | None:
        """Return a value that is in two spans, or None if the spans are disjoint."""
        both = np.flatnonzero(self.low[1:] <= self.high[:-1])
        return float(self.low[1:][both[0]]) if both.size else None

    def gaps(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the (n, k) distances of values to spans; 0 inside a span."""
        column = values.astype(np.float64)[:, None]
        return np.maximum(np.maximum(self.low - column, column - self.high), 0)


@dataclass(frozen=True)
class Legend:
    """Class names and their mask values.

    Attributes:
        names: Names of the C counted classes, in order.
        values: Mask values of each counted class: integers, 0xRRGGBB for colours, or texts for
            ranges and limits: "10-19" (inclusive), "<128", ">=128".
        ignored: Ignored mask values, in the same form.
        rgb: Whether masks are colours (3 bands) or indices (1 band).
        colors: One display colour "#RRGGBB" per counted class.
        tolerance: Largest difference (per channel, for colours) at which a value is assigned to the
            nearest class, for masks stored as JPEG; 0: exact. A value with the same distance to two
            classes is assigned to neither.
    """

    names: tuple[str, ...]
    values: tuple[tuple[int | str, ...], ...]
    ignored: tuple[int | str, ...] = ()
    rgb: bool = False
    colors: tuple[str, ...] = ()
    tolerance: int = 0
    _table: _Table = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the sorted table of values, and set default display colours."""
        pairs = [(span_of(v), i) for i, group in enumerate(self.values) for v in group]
        pairs += [(span_of(v), IGNORED) for v in self.ignored]
        object.__setattr__(self, "_table", _Table.of(pairs))
        given = self.colors or ("",) * len(self.names)
        from_values = [f"#{v[0]:06X}" if self.rgb else "" for v in self.values]
        fallback = [_PALETTE[i % len(_PALETTE)] for i in range(len(from_values))]
        colors = tuple(g or v or f for g, v, f in zip(given, from_values, fallback, strict=True))
        object.__setattr__(self, "colors", colors)

    def __len__(self) -> int:
        """Return C, the number of counted classes."""
        return len(self.names)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a classes file: YAML, TOML or JSON, by its suffix.

        Raises:
            DataError: The file cannot be read or is not a legend; the message contains the entry.
        """
        kind = Path(path).suffix.lstrip(".")
        content = read_document(path, "classes file", "Allowed: .yaml, .yml, .toml, .json.", kind)
        return cls.from_dict(content, where=f"the classes file {printable(str(path))!r}")

    @classmethod
    def from_dict(cls, content: Any, where: str = "the classes") -> Self:
        """Build a legend from ``{"classes": {name: value}, "ignore": [...]}``.

        A value is an integer, a colour "#RRGGBB", a range or limit (see `Legend`), or a list of
        these; a list of two integers is two values, not a range. Entries of ``ignore`` are names of
        classes, or values that are in no class. Optional: ``colors`` (name -> display colour) and
        ``tolerance``.

        Raises:
            DataError: Keys are unknown, there are no classes, colours and integers are mixed, a
                value is used twice, or ranges overlap.
        """
        parsed = parse_classes(content, where)
        legend = cls(
            names=tuple(parsed.classes), values=tuple(parsed.classes.values()),
            ignored=parsed.ignored, rgb=parsed.rgb, tolerance=parsed.tolerance,
            colors=tuple(parsed.colors.get(name, "") for name in parsed.classes),
        )  # fmt: skip
        overlap = legend._table.overlap()
        if overlap is not None:
            shared = legend._show(overlap) if math.isfinite(overlap) else "below all limits"
            raise DataError(
                f"{where}: the value {shared} is in two classes",
                "Each mask value must be in one class; ranges are inclusive.",
            )
        return legend

    def knows(self, value: float) -> bool:
        """Return whether a mask value (an integer, or 0xRRGGBB) belongs to a counted class."""
        code, known = self._table.find(np.array([value]))
        return bool(known[0]) and int(code[0]) != IGNORED

    @classmethod
    def of_indices(cls, values: Sequence[int]) -> Self:
        """Return a legend of index masks with class names from values, without a classes file."""
        return cls(
            names=tuple(f"class {v}" for v in values), values=tuple((int(v),) for v in values)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the legend as the content of a classes file."""
        show = [[self._show(v) if self.rgb else v for v in group] for group in self.values]
        return {
            "classes": dict(zip(self.names, show, strict=True)),
            "ignore": [self._show(v) if self.rgb else v for v in self.ignored],
            "colors": dict(zip(self.names, self.colors, strict=True)),
            "tolerance": self.tolerance,
        }

    def decode(self, mask: NDArray[Any], where: str = "the mask") -> NDArray[np.int16]:
        """Convert mask pixels to class numbers.

        Args:
            mask: (h, w) indices, or (c, h, w) with c = 1 for indices and 3 for colours.
            where: Name of the mask in error messages.

        Returns:
            (h, w) int16: 0 to C - 1, and -1 for ignored pixels.

        Raises:
            DataError: The number of bands does not match the legend, or a value is in no class, or
                not an integer although the legend has no ranges.
        """
        cube = mask[None] if mask.ndim == 2 else mask
        if cube.shape[0] != (3 if self.rgb else 1):
            kind = "colours (3 bands)" if self.rgb else "class indices (1 band)"
            raise DataError(
                f"{where} has {cube.shape[0]} band(s)",
                f"The classes are {kind}.",
                "Use a classes file with colours '#RRGGBB' for RGB masks, integers for indices.",
            )
        ranged = any(isinstance(v, str) for group in (*self.values, self.ignored) for v in group)
        floats = ranged and np.issubdtype(cube.dtype, np.floating)
        flat = (cube.astype(np.float64) if floats else pack(cube)).ravel()
        codes, known = self._table.find(flat)
        if not known.all():
            codes = self._nearest(flat, known, codes, where)
        return codes.reshape(cube.shape[1:])

    def _nearest(
        self,
        flat: NDArray[Any],
        known: NDArray[np.bool_],
        codes: NDArray[np.int16],
        where: str,
    ) -> NDArray[np.int16]:
        table = self._table
        unknown, inverse, count = np.unique(flat[~known], return_inverse=True, return_counts=True)
        if self.rgb:
            keys = _unpack(table.low.astype(np.int64))
            gap = np.abs(_unpack(unknown)[:, None] - keys[None]).max(axis=2)
        else:
            gap = table.gaps(unknown)
        near = gap.argmin(axis=1)
        distance = gap[np.arange(unknown.size), near]
        others = (gap == distance[:, None]) & (table.codes != table.codes[near][:, None])
        ambiguous = others.any(axis=1)
        count[(distance <= self.tolerance) & ~ambiguous] = 0
        if not count.any():
            codes = codes.copy()
            codes[~known] = table.codes[near][inverse]
            return codes
        worst = int(count.argmax())
        span, code = self._text(int(near[worst])), int(table.codes[near[worst]])
        name = self.names[code] if code >= 0 else "an ignored value"
        nearest = f"The nearest known value is {span} ({name})."
        if self.tolerance and distance[worst] <= self.tolerance:
            other = self._text(int(np.flatnonzero(others[worst])[0]))
            nearest = f"It has the same distance to {span} and {other}."
        value = unknown[worst]
        raise DataError(
            f"{where} has {count.sum()} pixels of {np.count_nonzero(count)} unknown class "
            f"value(s), most often {self._show(value)}",
            nearest + self._range_hint(float(value)),
            "Add it to the classes file, or to its 'ignore' list"
            + (", or set 'tolerance: 20' for masks saved as JPEG." if self.rgb else "."),
        )

    def _range_hint(self, value: float) -> str:
        """Return a hint about ranges if the value is between the two values of a list."""
        for name, group in zip(self.names, self.values, strict=True):
            if len(group) == 2 and not self.rgb and all(isinstance(v, int) for v in group):
                low, high = group
                if float(low) < value < float(high):
                    return (
                        f" {name}: [{low}, {high}] is a list of two values; the range is {name}: "
                        f'"{low}-{high}".'
                    )
        return ""

    def _text(self, number: int) -> str:
        """Format a span of the table."""
        low, high = self._table.low[number], self._table.high[number]
        if low == high:
            return self._show(low)
        if math.isinf(low):
            return f"up to {self._show(high)}"
        return f"{self._show(low)} and more" if math.isinf(high) else f"{low:g}-{high:g}"

    def _show(self, value: float | str) -> str:
        if isinstance(value, str):
            return value
        return f"#{int(value):06X}" if self.rgb else f"{float(value):.10g}"


def pack(cube: NDArray[Any]) -> NDArray[np.int64]:
    """Convert a mask to one integer per pixel.

    Args:
        cube: (1, h, w) indices or (3, h, w) colours of any dtype, integer values.

    Returns:
        (h, w) int64: the index, or 0xRRGGBB.

    Raises:
        DataError: The number of bands is not 1 or 3, or values are not integers.
    """
    if cube.shape[0] not in (1, 3):
        raise DataError(
            f"a mask of {cube.shape[0]} bands",
            "A mask must have 1 band (class indices) or 3 bands (colours).",
        )
    if np.issubdtype(cube.dtype, np.floating):
        invalid = cube[~(np.floor(cube) == cube) | np.isinf(cube)]  # NaN is not equal to itself
        if invalid.size:
            raise DataError(
                f"a mask contains {invalid[0]:g} and {invalid.size - 1} more values that are not "
                "integers",
                "A mask must contain class indices or colours; these values look like "
                "measurements.",
                "Use masks of class indices (--masks FOLDER, masks=...).",
            )
    if cube.shape[0] == 1:
        return cube[0].astype(np.int64)
    red, green, blue = cube.astype(np.int64)
    return (red << 16) | (green << 8) | blue


def count_classes(codes: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Count the pixels of each class.

    Args:
        codes: Class numbers of any shape; negative values are ignored.
        classes: C.

    Returns:
        (C,) int64.
    """
    return np.bincount(codes[codes >= 0].ravel(), minlength=classes).astype(np.int64)


def _unpack(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([values >> 16, (values >> 8) & 255, values & 255], axis=1)
