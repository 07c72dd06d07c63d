"""Charts of intervals: a row a line, all over the same scale, as SVG without scripts.

Lengths are percentages; marks are small pictures of their own, which keep their size. What a row
comes to is told by the form of its mark, its colour and a word. Everything variable passes through
`Markup.format`, which escapes it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from foveate.report import human
from foveate.report.words.observer import signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.report.benched_data import Interval

MARKS = {
    "better": "M-5-6L6.5 0L-5 6z",
    "worse": "M5-6L-6.5 0L5 6z",
    "tied": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "open": "M0-6L6 0L0 6L-6 0z",
    "reference": "M-4-4h8v8h-8z",
}
_BEYOND = {"low": "M-1 0L6-5V5z", "high": "M1 0L-6-5V5z"}  # arrowheads at the edges
_STEPS = 4  # about so many gaps between lines of the scale
_REACH = 5.0  # how many times the middle row the scale goes, where some rows go much further
_LEAST = 0.01  # smallest span of a scale: without one, noise fills the chart


class Span(NamedTuple):
    """What a scale covers.

    Attributes:
        low: Its left end, at most 0.
        high: Its right end, at least 0.
        cut: Whether some interval goes beyond it.
    """

    low: float
    high: float
    cut: bool = False

    def x(self, value: float) -> float:
        """Return the place of a value, in percent, at most at the edge."""
        place = 100 * (value - self.low) / (self.high - self.low)
        return min(max(place, 0.0), 100.0)

    def ticks(self) -> list[float]:
        """Return round values of the scale, 0 among them."""
        raw = (self.high - self.low) / _STEPS
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def span(gaps: Sequence[Interval]) -> Span:
    """Return the scale of some intervals.

    A few rows that are far off would press all others to the zero line: where the furthest is twice
    as far as `_REACH` times the middle one, the scale ends there, and arrows stand for the rest.
    """
    low = min((gap.low for gap in gaps), default=0.0)
    high = max((gap.high for gap in gaps), default=0.0)
    each = sorted(max(abs(gap.low), abs(gap.high)) for gap in gaps)
    reach = max(_REACH * each[len(each) // 2], _LEAST) if each else _LEAST
    cut = max(-low, high) > 2 * reach
    if cut:
        low, high = max(low, -reach), min(high, reach)
    low, high = min(low, 0.0), max(high, 0.0)
    lacking = max(0.0, _LEAST - (high - low)) / 2
    air = 0.04 * (high - low) + lacking
    return Span(low - air, high + air, cut)


def scale(over: Span) -> Markup:
    """Draw the figures of a scale."""
    ticks = over.ticks()
    step = ticks[1] - ticks[0]  # there are two: a step is at most half of the scale
    digits = next((d for d in range(1, 6) if abs(step - round(step, d)) < step / 100), 6)
    texts = [
        Markup('<text x="{:.2f}%" y="14" text-anchor="middle">{}</text>').format(
            over.x(value), "0" if abs(value) < step / 2 else signed(value, digits)
        )
        for value in ticks
    ]
    return Markup('<svg class="forest scale-of" height="18" aria-hidden="true">{}</svg>').format(
        Markup().join(texts)
    )


def interval(over: Span, gap: Interval | None, verdict: str, label: str) -> Markup:
    """Draw a row: its interval as a line, its mean as the mark of its verdict.

    Args:
        over: The scale.
        gap: The difference; None for the reference, which stands at 0, and for what has none.
        verdict: What it comes to.
        label: What the row says.
    """
    parts = [
        Markup('<line class="{0}" x1="{1:.2f}%" x2="{1:.2f}%" y1="0" y2="100%"/>').format(
            "zero" if abs(value) < 1e-12 else "rule", over.x(value)
        )
        for value in over.ticks()
    ]
    if gap is not None:
        parts.append(
            Markup('<line class="whisker" x1="{:.2f}%" x2="{:.2f}%" y1="50%" y2="50%"/>').format(
                over.x(gap.low), over.x(gap.high)
            )
        )
        parts += [
            _at(0.0, _BEYOND["low"], "beyond") if gap.low < over.low else Markup(),
            _at(100.0, _BEYOND["high"], "beyond") if gap.high > over.high else Markup(),
        ]
    mean = 0.0 if verdict == "reference" else math.nan if gap is None else gap.mean
    if over.low <= mean <= over.high:  # not true of NaN
        parts.append(_at(over.x(mean), MARKS.get(verdict, MARKS["tied"]), "mean"))
    return Markup(
        '<svg class="forest v-{}" height="26" role="img" aria-label="{}"><title>{}</title>{}</svg>'
    ).format(verdict or "none", label, label, Markup().join(parts))


def mark(verdict: str) -> Markup:
    """Draw the mark of a verdict, for a legend."""
    return Markup(
        '<svg class="forest v-{} lone" viewBox="-8 -8 16 16" aria-hidden="true">'
        '<path class="mean" d="{}"/></svg>'
    ).format(verdict, MARKS[verdict])


def short(gap: Interval | None) -> str:
    """Return a difference without its interval."""
    return human.NONE if gap is None else signed(gap.mean)


def written(gap: Interval | None) -> str:
    """Return a difference with its interval in figures."""
    if gap is None:
        return human.NONE
    return f"{signed(gap.mean)} [{signed(gap.low)}, {signed(gap.high)}]"


def _at(place: float, path: str, look: str) -> Markup:
    return Markup('<svg x="{:.2f}%" y="50%"><path class="{}" d="{}"/></svg>').format(
        place, look, path
    )
