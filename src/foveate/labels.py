"""Legends, and masks turned into class counts.

A mask holds class indices or RGB colours; a classes file names them::

    classes: {water: "#E2A929", road: "#6EC1E4", unlabeled: ["#9B9B9B", "#000000"]}
    ignore: [unlabeled]

or, of masks with one band, values, several values, ranges and limits::

    classes: {background: "<128", road: 200, crops: [131, 140], forest: "150-199"}

A list names each of its values, and nothing between them. Ignored classes are out of every count
and out of the number of classes C.
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
_FEW = 1 << 16  # values that are looked up one by one


@dataclass(frozen=True)
class _Table:
    """Spans that do not overlap, sorted, and the class number of each."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    codes: NDArray[np.int16]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Span, int]]) -> Self:
        ordered = sorted(pairs)
        low, high = (np.array([span[k] for span, _ in ordered], np.float64) for k in range(2))
        return cls(low, high, np.array([code for _, code in ordered], np.int16))

    def find(self, values: NDArray[Any]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """Return the class number of each of (n,) values, and whether it is in any span."""
        if not values.size or not np.issubdtype(values.dtype, np.integer):
            return self._search(values, self.low, self.high)
        first, last = int(values.min()), int(values.max())
        if last - first < min(values.size, _FEW):  # look up what there can be, then the pixels
            codes, known = self._search(np.arange(first, last + 1), *self._whole)
            return codes[values - first], known[values - first]
        return self._search(values, *self._whole)

    @cached_property
    def _whole(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lowest and highest whole number of each span; one array if these are single values."""
        limits = np.clip([np.ceil(self.low), np.floor(self.high)], -LARGEST, LARGEST)
        low, high = limits.astype(np.int64)
        low = np.where(np.isneginf(self.low), np.iinfo(np.int64).min, low)
        high = np.where(np.isposinf(self.high), np.iinfo(np.int64).max, high)
        return low, low if (low == high).all() else high

    def _search(
        self, values: NDArray[Any], low: NDArray[Any], high: NDArray[Any]
    ) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        place = np.maximum(np.searchsorted(low, values, side="right") - 1, 0)
        if low is high:
            return self.codes[place], low[place] == values
        return self.codes[place], (low[place] <= values) & (values <= high[place])

    def twice(self) -> float | None:
        """Return a value that two spans hold; None where they are apart."""
        both = np.flatnonzero(self.low[1:] <= self.high[:-1])
        return float(self.low[1:][both[0]]) if both.size else None

    def gaps(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return how far each of (n,) values lies from each of the k spans: (n, k)."""
        wide = values.astype(np.float64)[:, None]
        return np.maximum(np.maximum(self.low - wide, wide - self.high), 0)


@dataclass(frozen=True)
class Legend:
    """Names of classes and the mask values that stand for them.

    Attributes:
        names: Names of the C counted classes, in order.
        values: For each counted class its mask values: integers, 0xRRGGBB for colours, or texts
            for ranges and limits: "10-19" (both included), "<128", ">=128".
        ignored: Mask values that are counted nowhere, in the same form.
        rgb: Whether masks hold colours (3 bands) or indices (1 band).
        colors: One display colour "#RRGGBB" per counted class.
        tolerance: Largest difference (per channel, for colours) at which a value still counts as
            that of the nearest class, for masks that went through JPEG; 0 means exact. A value
            that is as near to another class belongs to none.
    """

    names: tuple[str, ...]
    values: tuple[tuple[int | str, ...], ...]
    ignored: tuple[int | str, ...] = ()
    rgb: bool = False
    colors: tuple[str, ...] = ()
    tolerance: int = 0
    _table: _Table = field(default=_Table.of([]), repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the sorted table of values and fill in display colours."""
        pairs = [(span_of(v), i) for i, group in enumerate(self.values) for v in group]
        pairs += [(span_of(v), IGNORED) for v in self.ignored]
        object.__setattr__(self, "_table", _Table.of(pairs))
        given = self.colors or ("",) * len(self.names)
        own = [f"#{v[0]:06X}" if self.rgb else "" for v in self.values]
        fallback = [_PALETTE[i % len(_PALETTE)] for i in range(len(own))]
        colors = tuple(g or o or f for g, o, f in zip(given, own, fallback, strict=True))
        object.__setattr__(self, "colors", colors)

    def __len__(self) -> int:
        """Return C, the number of counted classes."""
        return len(self.names)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a classes file: YAML, TOML or JSON, by its suffix.

        Raises:
            DataError: The file cannot be read or is no legend; the message names the entry.
        """
        kind = Path(path).suffix.lstrip(".")
        content = read_document(path, "classes file", "Allowed: .yaml, .yml, .toml, .json.", kind)
        return cls.from_dict(content, where=f"the classes file {printable(str(path))!r}")

    @classmethod
    def from_dict(cls, content: Any, where: str = "the classes") -> Self:
        """Build a legend from ``{"classes": {name: value}, "ignore": [...]}``.

        A value is an integer, a colour "#RRGGBB", a range or limit (see `Legend`), or a list of
        these: of two integers the list names two values, and nothing between them. Entries of
        ``ignore`` are names, or values that stand in no class. Optional: ``colors`` (name ->
        display colour) and ``tolerance``.

        Raises:
            DataError: Unknown keys, no classes, mixed colours and integers, a value used twice,
                ranges that overlap.
        """
        found = parse_classes(content, where)
        legend = cls(
            names=tuple(found.classes), values=tuple(found.classes.values()),
            ignored=found.ignored, rgb=found.rgb, tolerance=found.tolerance,
            colors=tuple(found.colors.get(name, "") for name in found.classes),
        )  # fmt: skip
        twice = legend._table.twice()
        if twice is not None:
            shared = legend._show(twice) if math.isfinite(twice) else "below all limits"
            raise DataError(
                f"{where}: the value {shared} stands for two classes",
                "Each mask value belongs to one class; ranges include both ends.",
            )
        return legend

    def knows(self, value: float) -> bool:
        """Say whether a mask value (an integer, or 0xRRGGBB) stands for a class that is counted."""
        code, known = self._table.find(np.array([value]))
        return bool(known[0]) and int(code[0]) != IGNORED

    @classmethod
    def of_indices(cls, values: Sequence[int]) -> Self:
        """Name the classes of index masks after their values, when there is no classes file."""
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
        """Turn mask pixels into class numbers.

        Args:
            mask: (h, w) indices, or (c, h, w) with c = 1 for indices and 3 for colours.
            where: What to call the mask in an error.

        Returns:
            (h, w) int16: 0 to C - 1, and -1 for ignored pixels.

        Raises:
            DataError: The number of bands does not fit the legend, or a value is in no class or
                no whole number, where the legend has no ranges.
        """
        cube = mask[None] if mask.ndim == 2 else mask
        if cube.shape[0] != (3 if self.rgb else 1):
            kind = "colours (3 bands)" if self.rgb else "class indices (1 band)"
            raise DataError(
                f"{where} has {cube.shape[0]} band(s)",
                f"The classes are {kind}.",
                "Give a classes file with colours '#RRGGBB' for RGB masks, integers for indices.",
            )
        ranged = any(isinstance(v, str) for group in (*self.values, self.ignored) for v in group)
        floats = ranged and np.issubdtype(cube.dtype, np.floating)
        flat = (cube.astype(np.float64) if floats else pack(cube)).ravel()
        found, known = self._table.find(flat)
        if not known.all():
            found = self._nearest(flat, known, found, where)
        return found.reshape(cube.shape[1:])

    def _nearest(
        self,
        flat: NDArray[Any],
        known: NDArray[np.bool_],
        found: NDArray[np.int16],
        where: str,
    ) -> NDArray[np.int16]:
        table = self._table
        strange, inverse, count = np.unique(flat[~known], return_inverse=True, return_counts=True)
        if self.rgb:
            keys = _unpack(table.low.astype(np.int64))
            gap = np.abs(_unpack(strange)[:, None] - keys[None]).max(axis=2)
        else:
            gap = table.gaps(strange)
        near = gap.argmin(axis=1)
        distance = gap[np.arange(strange.size), near]
        others = (gap == distance[:, None]) & (table.codes != table.codes[near][:, None])
        torn = others.any(axis=1)
        count[(distance <= self.tolerance) & ~torn] = 0
        if not count.any():
            found = found.copy()
            found[~known] = table.codes[near][inverse]
            return found
        worst = int(count.argmax())
        span, code = self._text(int(near[worst])), int(table.codes[near[worst]])
        name = self.names[code] if code >= 0 else "an ignored value"
        nearest = f"The nearest known is {span} ({name})."
        if self.tolerance and distance[worst] <= self.tolerance:
            other = self._text(int(np.flatnonzero(others[worst])[0]))
            nearest = f"It is as near to {span} as to {other}."
        value = strange[worst]
        raise DataError(
            f"{where} has {count.sum()} pixels of {np.count_nonzero(count)} unknown class "
            f"value(s), most often {self._show(value)}",
            nearest + self._listed(float(value)),
            "Add it to the classes file, or to its 'ignore' list"
            + (", or set 'tolerance: 20' for masks saved as JPEG." if self.rgb else "."),
        )

    def _listed(self, value: float) -> str:
        """Say that a list of two values is no range, if the value lies between them."""
        for name, group in zip(self.names, self.values, strict=True):
            if len(group) == 2 and not self.rgb and all(isinstance(v, int) for v in group):
                low, high = group
                if float(low) < value < float(high):
                    return (
                        f" {name}: [{low}, {high}] names two values; all from {low} to {high} are "
                        f'{name}: "{low}-{high}".'
                    )
        return ""

    def _text(self, number: int) -> str:
        """Write a span of the table."""
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
    """Turn a mask into one value per pixel.

    Args:
        cube: (1, h, w) indices or (3, h, w) colours of any dtype, whole numbers.

    Returns:
        (h, w) int64: the index, or 0xRRGGBB.

    Raises:
        DataError: Another number of bands, or values that are no whole numbers.
    """
    if cube.shape[0] not in (1, 3):
        raise DataError(
            f"a mask of {cube.shape[0]} bands",
            "A mask has 1 band (class indices) or 3 (colours).",
        )
    if np.issubdtype(cube.dtype, np.floating):
        broken = cube[~(np.floor(cube) == cube) | np.isinf(cube)]  # NaN equals nothing
        if broken.size:
            raise DataError(
                f"a mask holds {broken[0]:g} and {broken.size - 1} more values that are no whole "
                "numbers",
                "A mask holds class indices or colours; these look like measurements.",
                "Give masks of class indices (--masks FOLDER, masks=...).",
            )
    if cube.shape[0] == 1:
        return cube[0].astype(np.int64)
    red, green, blue = cube.astype(np.int64)
    return (red << 16) | (green << 8) | blue


def count_classes(codes: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Count the pixels of each class.

    Args:
        codes: Class numbers of any shape; negative ones are ignored.
        classes: C.

    Returns:
        (C,) int64.
    """
    return np.bincount(codes[codes >= 0].ravel(), minlength=classes).astype(np.int64)


def _unpack(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([values >> 16, (values >> 8) & 255, values & 255], axis=1)
