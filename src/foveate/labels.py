"""Legends, and masks turned into class counts.

A mask holds class indices or RGB colours; a classes file names them::

    classes: {water: "#E2A929", road: "#6EC1E4", unlabeled: ["#9B9B9B", "#000000"]}
    ignore: [unlabeled]

Ignored classes are out of every count and out of the number of classes C.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.errors import DataError
from foveate.files import reason
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

IGNORED = -1
_EXPECTED = (
    "Expected: classes (name: integer, '#RRGGBB' or a list of these), and optionally ignore, "
    "colors, tolerance."
)
_EXAMPLE = 'Example: classes: {water: "#E2A929", road: "#6EC1E4"} and ignore: [unlabeled].'
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_PALETTE = (
    "#4E79A7", "#F28E2B", "#59A14F", "#E15759", "#B07AA1", "#EDC948", "#76B7B2", "#FF9DA7",
    "#9C755F", "#86BCB6", "#D37295", "#8CD17D", "#B6992D", "#499894", "#A0CBE8", "#FFBE7D",
)  # fmt: skip


@dataclass(frozen=True)
class Legend:
    """Names of classes and the mask values that stand for them.

    Attributes:
        names: Names of the C counted classes, in order.
        values: For each counted class its mask values: integers, or 0xRRGGBB for colours.
        ignored: Mask values that are counted nowhere.
        rgb: Whether masks hold colours (3 bands) or indices (1 band).
        colors: One display colour "#RRGGBB" per counted class.
        tolerance: Largest difference per channel at which a colour still counts as a class's
            (for masks that went through JPEG); 0 means exact.
    """

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    ignored: tuple[int, ...] = ()
    rgb: bool = False
    colors: tuple[str, ...] = ()
    tolerance: int = 0
    _table: tuple[NDArray[np.int64], NDArray[np.int16]] = field(
        default=(np.empty(0, np.int64), np.empty(0, np.int16)), repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Build the sorted table of values and fill in display colours."""
        pairs = [(v, i) for i, group in enumerate(self.values) for v in group]
        pairs += [(v, IGNORED) for v in self.ignored]
        pairs.sort()
        keys = np.array([p[0] for p in pairs], np.int64)
        codes = np.array([p[1] for p in pairs], np.int16)
        object.__setattr__(self, "_table", (keys, codes))
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
        path = Path(path)
        return cls.from_dict(_load(path), where=f"the classes file {str(path)!r}")

    @classmethod
    def from_dict(cls, content: Any, where: str = "the classes") -> Self:
        """Build a legend from ``{"classes": {name: value}, "ignore": [...]}``.

        A value is an integer, a colour "#RRGGBB", or a list of these. Entries of ``ignore`` are
        names, or values that stand in no class. Optional: ``colors`` (name -> display colour)
        and ``tolerance`` (see `Legend`).

        Raises:
            DataError: Unknown keys, no classes, mixed colours and integers, a value used twice.
        """
        from pydantic import ValidationError

        empty = [n for n, v in _mapping(content, "classes").items() if v is None]
        if empty:
            raise DataError(
                f"{where}: the class {empty[0]!r} has no value",
                "In YAML an unquoted # begins a comment.",
                f'Quote the colour: {empty[0]}: "#RRGGBB".',
            )
        if not isinstance(content, dict):
            raise DataError(
                f"{where} holds no mapping, but {type(content).__name__}", _EXPECTED, _EXAMPLE
            )
        try:
            form = _legend_form().model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(p) for p in first["loc"])
            raise DataError(f"{where}: {place}: {first['msg']}", _EXPECTED, _EXAMPLE) from error
        classes = {name: _values(name, value, where) for name, value in form.classes.items()}
        _check_colors(form.colors, classes, where)
        kinds = {kind for group in classes.values() for kind, _ in group}
        dropped: list[int] = []
        names = list(classes)
        for entry in dict.fromkeys(form.ignore):
            if isinstance(entry, str) and entry in classes:
                dropped += [v for _, v in classes.pop(entry)]
            elif isinstance(entry, int) or entry.startswith("#"):
                parsed = _values("ignore", entry, where)
                kinds |= {kind for kind, _ in parsed}
                dropped += [v for _, v in parsed]
            else:
                raise DataError(
                    f"{where}: ignore lists {entry!r}, which is no class",
                    f"Classes: {', '.join(names)}. A mask value may be ignored too.",
                    suggest(entry, names),
                )
        if len(kinds) > 1:
            raise DataError(
                f"{where} mixes colours and integers",
                "A mask holds either colours or class indices.",
            )
        if not classes:
            raise DataError(f"{where} leaves no class to count", "At least one is needed.")
        legend = cls(
            names=tuple(classes),
            values=tuple(tuple(v for _, v in group) for group in classes.values()),
            ignored=tuple(dropped),
            rgb="colour" in kinds,
            tolerance=form.tolerance,
            colors=tuple(form.colors.get(name, "") for name in classes),
        )
        keys = legend._table[0]
        if np.unique(keys).size != keys.size:
            twice = int(keys[1:][np.diff(keys) == 0][0])
            raise DataError(
                f"{where}: the value {legend._show(twice)} stands for two classes",
                "Each mask value belongs to one class.",
            )
        return legend

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
                no whole number.
        """
        cube = mask[None] if mask.ndim == 2 else mask
        if cube.shape[0] != (3 if self.rgb else 1):
            kind = "colours (3 bands)" if self.rgb else "class indices (1 band)"
            raise DataError(
                f"{where} has {cube.shape[0]} band(s)",
                f"The classes are {kind}.",
                "Give a classes file with colours '#RRGGBB' for RGB masks, integers for indices.",
            )
        keys, codes = self._table
        flat = pack(cube).ravel()
        place = np.minimum(np.searchsorted(keys, flat), keys.size - 1)
        known = keys[place] == flat
        found = codes[place]
        if not known.all():
            found = self._nearest(flat, known, found, where)
        return found.reshape(cube.shape[1:])

    def _nearest(
        self,
        flat: NDArray[np.int64],
        known: NDArray[np.bool_],
        found: NDArray[np.int16],
        where: str,
    ) -> NDArray[np.int16]:
        keys, codes = self._table
        strange, inverse, count = np.unique(flat[~known], return_inverse=True, return_counts=True)
        if self.rgb:
            gap = np.abs(_unpack(strange)[:, None] - _unpack(keys)[None]).max(axis=2)
        else:
            gap = np.abs(strange[:, None] - keys[None])
        near = gap.argmin(axis=1)
        distance = gap[np.arange(strange.size), near]
        count[distance <= (self.tolerance if self.rgb else 0)] = 0
        if not count.any():
            found = found.copy()
            found[~known] = codes[near][inverse]
            return found
        worst = int(count.argmax())
        code = int(codes[near[worst]])
        name = self.names[code] if code >= 0 else "an ignored value"
        raise DataError(
            f"{where} has {count.sum()} pixels of {np.count_nonzero(count)} unknown class "
            f"value(s), most often {self._show(int(strange[worst]))}",
            f"The nearest known is {self._show(int(keys[near[worst]]))} ({name}).",
            "Add it to the classes file, or to its 'ignore' list"
            + (", or set 'tolerance: 20' for masks saved as JPEG." if self.rgb else "."),
        )

    def _show(self, value: int) -> str:
        return f"#{value:06X}" if self.rgb else str(value)


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


def _check_colors(colors: dict[str, str], classes: Collection[str], where: str) -> None:
    for name, colour in colors.items():
        if name not in classes:
            raise DataError(
                f"{where}: colors lists {name!r}, which is no class",
                f"Classes: {', '.join(classes)}.",
                suggest(name, classes),
            )
        _values(f"colors: {name}", colour, where)


def _values(name: str, value: Any, where: str) -> list[tuple[str, int]]:
    """Parse integers and colours into (kind, number)."""
    if value == []:
        raise DataError(f"{where}: {name} has no value", "A class has at least one mask value.")
    parsed = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, int):
            parsed.append(("index", item))
            continue
        if not _COLOUR.fullmatch(item):
            raise DataError(
                f"{where}: {name}: {item!r} is no colour",
                "A colour is '#RRGGBB' with six hexadecimal digits, an index is an integer.",
            )
        parsed.append(("colour", int(item[1:], 16)))
    return parsed


def _mapping(content: Any, name: str) -> dict[Any, Any]:
    """Return the mapping under `name`, empty where there is none."""
    found = content.get(name) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def _load(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the classes file {str(path)!r}: {reason(error)}") from error
    try:
        if path.suffix.lower() == ".toml":
            return tomllib.loads(text)
        if path.suffix.lower() == ".json":
            return json.loads(text)
        import yaml

        return yaml.safe_load(text)
    except Exception as error:  # each parser has its own; the message has the line
        raise DataError(
            f"the classes file {str(path)!r} is not valid {path.suffix.lstrip('.') or 'YAML'}: "
            f"{' '.join(str(error).split())}",
            "Allowed: .yaml, .yml, .toml, .json.",
        ) from error


def _legend_form() -> Any:
    """Return the pydantic form of a classes file (built on use: pydantic takes 0.2 s to load)."""
    from pydantic import BaseModel, ConfigDict, Field

    class LegendForm(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        classes: dict[str, int | str | list[int | str]] = Field(min_length=1)
        ignore: list[int | str] = []
        colors: dict[str, str] = {}
        tolerance: int = Field(0, ge=0, le=255)

    return LegendForm
