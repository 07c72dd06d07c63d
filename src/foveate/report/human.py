"""Number formatting for reports. Independent of the locale, so that pages are reproducible."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = "\u202f"  # narrow no-break space between a number and its unit
NONE = "\u2013"  # placeholder of a missing value

_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")


def count(value: float) -> str:
    """Format an integer with thousands separators: 12,345."""
    return f"{round(value):,}"


def share(value: float) -> str:
    """Format a share as a percentage: two significant digits below 10 %, an integer above."""
    if not math.isfinite(value):
        return NONE
    percent = 100 * value
    if percent == 0 or percent >= 9.95:
        return f"{percent:.0f}{GAP}%"
    if percent < 0.01:
        return f"<0.01{GAP}%"
    return f"{percent:.1f}{GAP}%" if percent >= 0.95 else f"{percent:.2g}{GAP}%"


def decimal(value: float, digits: int = 2) -> str:
    """Format a decimal number; a dash for NaN and infinities."""
    if not math.isfinite(value):
        return NONE
    text = f"{value:.{digits}f}"
    # Avoid minus zero.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\u2212")


def factor(value: float) -> str:
    """Format a factor: x2.4; a dash for NaN and infinities."""
    if not math.isfinite(value):
        return NONE
    digits = 0 if value >= 9.95 else 1 if value >= 0.995 else 2
    return f"\u00d7{value:.{digits}f}"


def seconds(value: float) -> str:
    """Format a duration: 0.05 s, 3.4 s, 26 s, 3 min 20 s, 2 h 05 min."""
    if value < 9.95:
        return f"{value:.{1 if value >= 0.995 else 2}f}{GAP}s" if value >= 0.005 else f"<0.01{GAP}s"
    whole = round(value)
    if whole < 60:
        return f"{whole}{GAP}s"
    if whole < 3600:
        return f"{whole // 60}{GAP}min {whole % 60:02d}{GAP}s"
    return f"{whole // 3600}{GAP}h {whole % 3600 // 60:02d}{GAP}min"


def amount(value: float, unit: str) -> str:
    """Format a cost in the unit of a budget: 79 patches, 15.5 MB, 3 min 20 s."""
    if unit == "tiles":
        return f"{count(value)} patch{'' if round(value) == 1 else 'es'}"
    if unit == "bytes":
        power = min(int(math.log(max(value, 1), 1000)), len(_BYTES) - 1)
        return f"{value / 1000**power:.3g}{GAP}{_BYTES[power]}"
    if unit == "minutes":
        return seconds(60 * value)
    if unit == "pixels" and value >= 1e5:
        return f"{value / 1e6:,.1f} million pixels"
    text = count(value) if value == round(value) or value >= 1000 else f"{value:.3g}"
    return f"{text} {unit}"


def plural(number: int, one: str, many: str = "") -> str:
    """Format a number with its noun: 1 tile, 2 tiles."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def number(value: object) -> float:
    """Return a value of a record as float; NaN if it is not a number."""
    return float(value) if isinstance(value, int | float) else math.nan


def numbers(values: object) -> list[float]:
    """Return a list of a record as floats; NaN for items that are not finite numbers."""
    found = [number(v) for v in values] if isinstance(values, list) else []
    return [v if math.isfinite(v) else math.nan for v in found]


def signed(value: float, digits: int = 2) -> str:
    """Format a difference with its sign: +0.19."""
    text = decimal(value, digits)
    return f"+{text}" if value > 0 and float(f"{value:.{digits}f}") else text


def area(value: float, *, metres: bool, whole: float | None = None) -> str:
    """Format an area in square metres or kilometres, or in pixels without a georeference.

    With `whole`, the unit of the whole is used, so that its parts can be compared.
    """
    if not math.isfinite(value):
        return NONE
    if not metres:
        return f"{count(value)}{GAP}px" if value < 1e7 else f"{value / 1e6:,.0f} Mpx"
    if (value if whole is None else whole) < 1e5:
        return f"{count(value)}{GAP}m\u00b2"
    if 0 < value < 100:
        return f"<0.0001{GAP}km\u00b2"
    text = f"{value / 1e6:,.3g}" if value < 1e9 else count(value / 1e6)
    return f"{text}{GAP}km\u00b2"


def listed(names: Sequence[str]) -> str:
    """Join names: a, b or c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
