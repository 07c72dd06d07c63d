"""Line charts: SVG without scripts, whose text keeps its size at any width.

Lines are drawn in a box of 100 x 100 that is stretched; text and points stand outside of it, at
percentages. Everything variable passes through `Markup.format`, which escapes it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from markupsafe import Markup

from foveate.report import human

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = 8  # looks of lines in the style sheet: "k0" ... "k7"


class Line(NamedTuple):
    """One line of a chart.

    Attributes:
        name: What it is.
        x: Places.
        y: Heights; NaN where there is none.
        look: Its class in the style sheet: "k0" ..., with "dashed" or "faint".
        points: Whether its points are marked.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    look: str
    points: bool = True


class Level(NamedTuple):
    """A horizontal line for reference."""

    name: str
    y: float


class _Scale(NamedTuple):
    """Where values lie in the box, in percent."""

    left: float
    right: float
    low: float
    high: float
    log: bool

    def x(self, value: float) -> float:
        a, b, v = (math.log(t) if self.log else t for t in (self.left, self.right, value))
        return 100 * (v - a) / (b - a) if b > a else 50.0

    def y(self, value: float) -> float:
        return 100 - 100 * (value - self.low) / (self.high - self.low)


def chart(
    lines: Sequence[Line],
    label: str,
    *,
    levels: Sequence[Level] = (),
    ticks: Sequence[tuple[float, str]] = (),
    mark: float = math.nan,
    log: bool = False,
    height: int = 300,
    least: float = 0.0,
) -> Markup | None:
    """Draw lines; None where no point is known.

    Args:
        lines: The lines, the most important last.
        label: What the chart shows, for those who cannot see it.
        levels: Horizontal lines for reference.
        ticks: Places on the axis, with what is written there.
        mark: Place of a vertical line; NaN for none.
        log: Whether the axis is logarithmic; places are then above 0.
        height: Pixels.
        least: Smallest span of the scale: without one, noise fills the chart.
    """
    levels = [level for level in levels if math.isfinite(level.y)]
    heights = [v for line in lines for v in line.y if math.isfinite(v)]
    places = [v for line in lines for v in line.x]
    if not heights or not places:
        return None
    heights += [level.y for level in levels]
    scale = _Scale(min(places), max(places), *_room(min(heights), max(heights), least), log)
    steps = _steps(scale.low, scale.high)
    digits = max(2, *(_digits(value) for value in steps))
    parts = [_rule(scale, value, digits) for value in steps]
    parts += [_level(scale, level) for level in levels]
    if math.isfinite(mark) and scale.left <= mark <= scale.right:
        parts.append(
            Markup('<line class="mark" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>').format(
                scale.x(mark)
            )
        )
    paths = Markup().join(_path(scale, line) for line in lines)
    parts.append(
        Markup('<svg viewBox="0 0 100 100" preserveAspectRatio="none">{}</svg>').format(paths)
    )
    parts += [_points(scale, line) for line in lines if line.points]
    parts += [_tick(scale, place, text) for place, text in ticks]
    return Markup(
        '<svg class="lines-chart" role="img" aria-label="{}" height="{}">{}</svg>'
    ).format(label, height, Markup().join(parts))


def sample(look: str) -> Markup:
    """Draw a short piece of a line, for a legend."""
    return Markup(
        '<svg class="sample" viewBox="0 0 28 8" aria-hidden="true">'
        '<path class="line {}" d="M1 4H27"/></svg>'
    ).format(look)


def _room(low: float, high: float, least: float) -> tuple[float, float]:
    """Leave some air above and below."""
    lacking = max(0.0, least - (high - low)) / 2
    low, high = low - lacking, high + lacking
    air = 0.08 * (high - low) or 0.05 * max(abs(high), 1e-3)
    return low - air, high + air


def _steps(low: float, high: float) -> list[float]:
    """Return three to six round values between two."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step) + 1)]


def _rule(scale: _Scale, value: float, digits: int) -> Markup:
    return Markup(
        '<line class="rule" x1="0" x2="100%" y1="{0:.2f}%" y2="{0:.2f}%"/>'
        '<text class="axis" x="0" dx="-8" y="{0:.2f}%" dy="4" text-anchor="end">{1}</text>'
    ).format(scale.y(value), human.decimal(value, digits))


def _digits(value: float) -> int:
    """Return how many decimals a round value needs, four at most."""
    return next((d for d in range(4) if abs(value - round(value, d)) < 1e-9), 4)


def _level(scale: _Scale, level: Level) -> Markup:
    return Markup(
        '<line class="level" x1="0" x2="100%" y1="{0:.2f}%" y2="{0:.2f}%"/>'
        '<text class="level" x="{2}" dx="{3}" y="{0:.2f}%" dy="{4}" text-anchor="{5}">{1}</text>'
    ).format(scale.y(level.y), level.name, *_aside(scale, level))


def _aside(scale: _Scale, level: Level) -> tuple[str, int, int, str]:
    """Return where a level is named: lines rise, so left if it is high, else right."""
    if scale.y(level.y) < 50:
        return "0", 4, -5, "start"
    return "100%", -4, 14, "end"


def _path(scale: _Scale, line: Line) -> Markup:
    path, gap = [], True
    for x, y in zip(line.x, line.y, strict=True):
        if not math.isfinite(y):
            gap = True
            continue
        path.append(f"{'M' if gap else 'L'}{scale.x(x):.2f} {scale.y(y):.2f}")
        gap = False
    return Markup('<path class="line {}" d="{}"/>').format(line.look, "".join(path))


def _points(scale: _Scale, line: Line) -> Markup:
    parts = [
        Markup(
            '<circle class="{}" cx="{:.2f}%" cy="{:.2f}%" r="3.5"><title>{}: {}</title></circle>'
        ).format(line.look, scale.x(x), scale.y(y), line.name, human.decimal(y, 3))
        for x, y in zip(line.x, line.y, strict=True)
        if math.isfinite(y)
    ]
    return Markup().join(parts)


def _tick(scale: _Scale, place: float, text: str) -> Markup:
    at = scale.x(place)
    anchor = "start" if at < 2 else "end" if at > 98 else "middle"
    return Markup(
        '<text class="axis" x="{:.2f}%" y="100%" dy="20" text-anchor="{}">{}</text>'
    ).format(at, anchor, text)


def known(values: object) -> list[float]:
    """Return numbers of a record, NaN for what is none."""
    found = values if isinstance(values, list) else []
    return [float(v) if isinstance(v, int | float) and np.isfinite(v) else math.nan for v in found]
