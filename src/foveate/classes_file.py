"""Content of a classes file: names of classes and their values in a mask."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.errors import DataError
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Collection

_EXPECTED = (
    "Expected: classes (name: integer, '#RRGGBB', a range such as '10-19' or '>=128', or a list of "
    "these), and optionally ignore, colors, tolerance."
)
_EXAMPLE = 'Example: classes: {water: "#E2A929", road: "#6EC1E4"} and ignore: [unlabeled].'
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_LIMIT = re.compile(rf"(<=|>=|<|>)\s*({_NUMBER})")
_RANGE = re.compile(rf"({_NUMBER})\s*(?:-|\.\.)\s*({_NUMBER})")
LARGEST = 2**53  # all integers up to this value are exact in float64


class Span(NamedTuple):
    """Values from `low` to `high`, both included; float64 that may be infinite."""

    low: float
    high: float


class Classes(NamedTuple):
    """A parsed classes file.

    Attributes:
        classes: Name -> values: integers (0xRRGGBB for colours), or strings of ranges and limits.
        ignored: Values that are not counted.
        rgb: Whether values are colours.
        tolerance: Maximum difference of colours per channel.
        colors: Name -> display colour.
    """

    classes: dict[str, tuple[int | str, ...]]
    ignored: tuple[int | str, ...]
    rgb: bool
    tolerance: int
    colors: dict[str, str]


def parse_classes(content: Any, where: str) -> Classes:
    """Check the content of a classes file; see `foveate.labels.Legend.from_dict`.

    Raises:
        DataError: A key is unknown, there are no classes, or colours and integers are mixed.
    """
    form = _checked_form(content, where)
    classes = _classes(form.classes, where)
    colors = {unicodedata.normalize("NFC", n): colour for n, colour in form.colors.items()}
    _check_colors(colors, classes, where)
    dropped = _take_ignored(form.ignore, classes, where)
    kinds = {kind for group in (*classes.values(), dropped) for kind, _ in group}
    if len(kinds) > 1:
        raise DataError(
            f"{where} mixes colours and integers",
            "The values of a mask are either colours or class indices.",
        )
    if not classes:
        raise DataError(f"{where}: all classes are ignored", "At least one class must be counted.")
    return Classes(
        {name: tuple(v for _, v in group) for name, group in classes.items()},
        tuple(v for _, v in dropped), "colour" in kinds, form.tolerance, colors,
    )  # fmt: skip


def span_of(value: int | str) -> Span:
    """Return the span of an integer, or of the string of a range or limit.

    Raises:
        ValueError: The string is neither.
    """
    if isinstance(value, str):
        span = _range(value)
        if span is None:
            raise ValueError(value)
        return span
    return Span(float(value), float(value))


def _range(text: str) -> Span | None:
    """Parse a range or limit; None for other strings."""
    if found := _LIMIT.fullmatch(text.strip()):
        limit = float(found[2])
        # Strict limits start at the next floating-point number.
        return {
            "<": Span(-math.inf, math.nextafter(limit, -math.inf)),
            "<=": Span(-math.inf, limit),
            ">": Span(math.nextafter(limit, math.inf), math.inf),
            ">=": Span(limit, math.inf),
        }[found[1]]
    if found := _RANGE.fullmatch(text.strip()):
        return Span(float(found[1]), float(found[2]))
    return None


def _check_colors(colors: dict[str, str], classes: Collection[str], where: str) -> None:
    for name, colour in colors.items():
        if name not in classes:
            raise DataError(
                f"{where}: colors lists {name!r}, which is not a class",
                f"Classes: {', '.join(classes)}.",
                suggest(name, classes),
            )
        _values(f"colors: {name}", colour, where)


def _checked_form(content: Any, where: str) -> Any:
    """Check the structure of a classes file, and return its content with types."""
    from pydantic import ValidationError

    empty = [n for n, v in _mapping(content, "classes").items() if v is None]
    if empty:
        raise DataError(
            f"{where}: the class {empty[0]!r} has no value",
            "In YAML, an unquoted # starts a comment.",
            f'Quote the colour: {empty[0]}: "#RRGGBB".',
        )
    if not isinstance(content, dict):
        raise DataError(
            f"{where} must be a mapping, got {type(content).__name__}", _EXPECTED, _EXAMPLE
        )
    try:
        return _legend_form().model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        hint = _EXAMPLE
        if place.endswith(".[key]"):
            hint = f"Names must be strings: write it in quotes, '{str(first['input']).lower()}'."
        raise DataError(f"{where}: {place}: {first['msg']}", _EXPECTED, hint) from error


def _classes(stated: dict[str, Any], where: str) -> dict[str, list[tuple[str, int | str]]]:
    """Return name -> parsed values."""
    classes: dict[str, list[tuple[str, int | str]]] = {}
    for written, value in stated.items():
        name = unicodedata.normalize("NFC", written)
        if name in classes:
            raise DataError(
                f"{where}: the class {name!r} is defined twice, in two Unicode normal forms",
                "A class must be defined once.",
            )
        classes[name] = _values(name, value, where)
    return classes


def _take_ignored(
    ignore: list[Any], classes: dict[str, list[tuple[str, int | str]]], where: str
) -> list[tuple[str, int | str]]:
    """Remove ignored classes, and return all ignored values."""
    dropped: list[tuple[str, int | str]] = []
    names = list(classes)
    for entry in dict.fromkeys(ignore):
        name = unicodedata.normalize("NFC", str(entry))
        if isinstance(entry, str) and name in classes:
            dropped += classes.pop(name)
        elif isinstance(entry, int) or entry.startswith("#") or _range(entry):
            dropped += _values("ignore", entry, where)
        elif name not in names:
            raise DataError(
                f"{where}: ignore lists {entry!r}, which is not a class",
                f"Classes: {', '.join(names)}. Values of the mask may also be ignored.",
                suggest(entry, names),
            )
    return dropped


def _values(name: str, value: Any, where: str) -> list[tuple[str, int | str]]:
    """Parse integers, colours, ranges and limits into (kind, value)."""
    if value == []:
        raise DataError(f"{where}: {name} has no value", "A class must have at least one value.")
    parsed: list[tuple[str, int | str]] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, int):
            if abs(item) > LARGEST:
                raise DataError(
                    f"{where}: {name}: the value {item} is too large",
                    f"Values must not exceed {LARGEST} (2^53).",
                )
            parsed.append(("index", item))
            continue
        span = _range(item)
        if span is not None:
            if span.low > span.high:
                raise DataError(
                    f"{where}: {name}: the range {item!r} is empty",
                    "The first value of a range must not exceed the second.",
                    f'{name}: "{span.high:g}-{span.low:g}"',
                )
            parsed.append(("index", item.strip()))
            continue
        if not _COLOUR.fullmatch(item):
            raise DataError(
                f"{where}: {name}: {item!r} is not a valid value",
                "A value must be a colour '#RRGGBB' with six hexadecimal digits, an integer, or a "
                "range such as '10-19', '<128' or '>=128'.",
            )
        parsed.append(("colour", int(item[1:], 16)))
    return parsed


def _mapping(content: Any, name: str) -> dict[Any, Any]:
    """Return the mapping under `name`, or an empty mapping."""
    found = content.get(name) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def _legend_form() -> Any:
    """Return the pydantic model of a classes file (created on use: pydantic loads in 0.2 s)."""
    from pydantic import BaseModel, ConfigDict, Field

    class LegendForm(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        classes: dict[str, int | str | list[int | str]] = Field(min_length=1)
        ignore: list[int | str] = []
        colors: dict[str, str] = {}
        tolerance: int = Field(0, ge=0, le=255)

    return LegendForm
