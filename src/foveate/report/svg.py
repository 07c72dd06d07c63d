"""Charts and marks as SVG, without scripts.

Lengths of charts are percentages, so that a chart fills its box at any width while its text keeps
its size; lines are drawn in a stretched box of 100 x 100. Marks over pictures are in thousandths
of the longer side. Colours are defined in the style sheet, including the dark mode. `tag` escapes
all its arguments.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from markupsafe import Markup, escape

from foveate.report import human

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.report.numbers import Histogram

type Box = tuple[float, float, float, float]  # x, y, w, h

LOOKS = 8  # line styles of the style sheet: "k0" ... "k7"
TIPS = 400  # maximum number of tooltips of a drawing
UNITS = 1000.0  # length of the longer side of a drawing
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_SLIVER = 0.004  # smaller shares are not drawn: less than a pixel of a thumbnail
_SQUARES = 1200  # maximum number of squares of the chart of a pool
VERDICTS = {
    "better": "M-5-6L6.5 0L-5 6z",
    "worse": "M5-6L-6.5 0L5 6z",
    "tied": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "open": "M0-6L6 0L0 6L-6 0z",
    "reference": "M-4-4h8v8h-8z",
}
_ARROWS = {0.0: "M-1 0L6-5V5z", 100.0: "M1 0L-6-5V5z"}  # at the edges of a scale


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Build an element.

    In attribute names a final underscore is removed and other underscores become hyphens.
    Attributes that are None or "" are omitted. Everything but markup is escaped.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value == "":
            continue
        text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
        parts.append(f' {key.rstrip("_").replace("_", "-")}="{escape(text)}"')
    if not children:
        return Markup(f"{''.join(parts)}/>")  # noqa: S704  (its parts are escaped)
    flat = (c for child in children for c in (child if isinstance(child, list) else [child]))
    inside = "".join(str(escape(c)) for c in flat)
    return Markup(f"{''.join(parts)}>{inside}</{name}>")  # noqa: S704


def image(look: str, *children: object, label: str = "", **attributes: object) -> Markup:
    """Build a picture; without a label it is decorative and hidden from screen readers."""
    role = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return tag("svg", *(children or ("",)), class_=look, **role, **attributes)


def percent(value: float) -> str:
    """Format a length."""
    return f"{value:.2f}%"


def colour(value: str) -> str:
    """Return a valid "#RRGGBB" colour unchanged, and grey otherwise."""
    return value if _COLOUR.fullmatch(value) else "#888888"


@dataclass(frozen=True)
class Scale:
    """Mapping of values to positions on an axis, in percent."""

    low: float
    high: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the position of a value, in percent."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return 100 * (at - low) / (high - low) if high > low else 50.0

    def within(self, value: float) -> float:
        """Return the position of a value, clipped to the axis."""
        return min(max(self(value), 0.0), 100.0)

    def ticks(self, gaps: int = 5) -> list[float]:
        """Return round values, about `gaps` steps apart."""
        raw = (self.high - self.low) / gaps
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


# bars


def bar(share: float, label: str, mark: float = math.nan) -> Markup:
    """Draw a bar.

    Args:
        share: Filled part, 0 to 1; NaN is empty.
        label: Tooltip.
        mark: Position of a reference mark, 0 to 1; NaN for none.
    """
    at = percent(100 * min(max(mark, 0), 1)) if math.isfinite(mark) else ""
    width = max(100 * share, 0.6) if share > 0 else 0  # NaN is not above 0
    return image(
        "bar",
        tag("rect", class_="track", width="100%", height="100%", rx=2),
        tag("rect", class_="fill", width=percent(width), height="100%", rx=2),
        tag("line", class_="tick", x1=at, x2=at, y1=-3, y2=11) if at else "",
        tag("title", label),
    )


def stacked(shares: Sequence[float], names: Sequence[str], colours: Sequence[str]) -> Markup:
    """Draw shares of classes as a thin stacked bar; all NaN if no pixel was counted."""
    parts, start = [], 0.0
    for share, name, fill in zip(shares, names, colours, strict=True):
        if share >= _SLIVER:  # False for NaN
            title = tag("title", f"{name} {human.share(share)}")
            width, x = f"{100 * share:.1f}%", f"{100 * start:.1f}%"
            parts.append(tag("rect", title, x=x, width=width, fill=colour(fill)))
            start += share
    largest = sorted(zip(shares, names, strict=True), key=lambda pair: -pair[0])[:3]
    label = ", ".join(f"{n} {human.share(s)}" for s, n in largest if s >= _SLIVER)
    return image("stack", parts, label=label or "no class counted")


def before_after(before: float, after: float, largest: float, fill: str, name: str) -> Markup:
    """Draw a share in the pool as a thin bar, and in the selection as a thick bar."""
    each = 100 / largest if largest > 0 else 0.0
    bars = []
    for look, share, what in (("before", before, "pool"), ("after", after, "selection")):
        share_ = 0.0 if math.isnan(share) else share
        title = tag("title", f"{name}: {human.share(share_)} of the {what}")
        position = {"y": 0, "height": 8} if look == "before" else {"y": 10, "height": 14}
        paint = {"fill": colour(fill)} if look == "after" else {}
        width = percent(max(share_ * each, 0.2))
        bars.append(tag("rect", title, class_=look, width=width, rx=2, **position, **paint))
    return image("pair", bars)


def swatch(fill: str) -> Markup:
    """Draw a dot of a colour, for a legend."""
    return image("dot", tag("rect", width="100%", height="100%", rx=3, fill=colour(fill)))


def histogram(
    bins: Histogram, *, cut: str = "budget ends", one: str = "patch", many: str = "patches"
) -> Markup:
    """Draw a histogram of scores, the selected part filled, with a line where the budget ends."""
    count, top = bins.all.size, max(int(bins.all.max()), 1)
    span = bins.high - bins.low or 1.0
    parts = []
    for i, (total, kept) in enumerate(zip(bins.all.tolist(), bins.kept.tolist(), strict=True)):
        if not total:
            continue
        low = bins.low + span * i / count
        text = f"{human.decimal(low)} to {human.decimal(low + span / count)}: "
        text += f"{human.plural(total, one, many)}, {human.count(kept)} selected"
        x, width = percent(100 * i / count), percent(86 / count)
        rest = {"y": percent(100 - 88 * total / top), "height": percent(88 * (total - kept) / top)}
        full = {"y": percent(100 - 88 * kept / top), "height": percent(88 * kept / top)}
        parts.append(tag(
            "g", tag("rect", class_="hit", x=x, width=percent(100 / count), height="100%"),
            tag("rect", class_="rest", x=x, width=width, **rest),
            tag("rect", class_="kept", x=x, width=width, **full), tag("title", text),
        ))  # fmt: skip
    line = f"{cut} at {human.decimal(bins.line, 3)}"
    if math.isfinite(bins.line):
        x = 100 * (bins.line - bins.low) / span
        end = x > 50
        anchor = {"dx": -6, "text_anchor": "end"} if end else {"dx": 6, "text_anchor": "start"}
        parts.append(tag("line", class_="cut", x1=percent(x), x2=percent(x), y1=0, y2="100%"))
        parts.append(tag("text", line, class_="cut", x=percent(x), y=11, **anchor))
    low, high = human.decimal(bins.low), human.decimal(bins.high)
    label = f"Histogram of scores from {low} to {high}; the {line}"
    return image("hist", parts, label=label, height=200)


def per_square(n: int) -> int:
    """Return the number of tiles per square of `squares`."""
    return max(1, math.ceil(n / _SQUARES))


def squares(strength: NDArray[np.float64], label: str) -> Markup:
    """Draw a pool as squares in the order of its tiles.

    Args:
        strength: (n,), 0 for tiles that were not selected, up to 1. Above 1200 tiles, a square
            shows the mean of several tiles, relative to the largest.
        label: Alternative text.
    """
    each = per_square(strength.size)
    padded = np.zeros(math.ceil(strength.size / each) * each)
    padded[: strength.size] = strength
    value = padded.reshape(-1, each).mean(axis=1)
    value /= max(float(value.max(initial=0)), 1e-12)
    columns = max(1, math.ceil(math.sqrt(value.size * 1.25)))
    level = np.ceil(value * 4).astype(int)  # five tints are enough to see, and five paths small
    parts = []
    for step in range(5):
        at = np.flatnonzero(level == step)
        path = "".join(f"M{i % columns} {i // columns}h.78v.78h-.78z" for i in at)
        parts.append(tag("path", class_=f"s{step}", d=path))
    box = f"0 0 {columns} {math.ceil(value.size / columns)}"
    return image("squares", parts, label=label, viewBox=box)


def tint(value: float) -> str:
    """Return the style class of a tinted cell: h0 ... h10, with "neg" below zero."""
    if not math.isfinite(value):
        return "none"
    step = round(10 * min(abs(value), 1))
    return f"h{step} neg" if value < 0 and step else f"h{step}"


# lines


class Line(NamedTuple):
    """One line of a chart.

    Attributes:
        band: Lower and upper ends of an interval around each y, or empty.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]  # NaN where missing
    look: str  # style class: "k0" ..., with "dashed"
    points: bool = True  # whether points are marked
    band: Sequence[tuple[float, float]] = ()


_NAME = 24  # smallest distance of two levels labelled on the same side, pixels


def lines(
    drawn: Sequence[Line],
    label: str,
    *,
    levels: Sequence[tuple[str, float]] = (),
    ticks: Sequence[tuple[float, str]] = (),
    mark: float = math.nan,
    log: bool = False,
    height: int = 300,
    least: float = 0.0,
) -> Markup | None:
    """Draw a line chart; None without finite points.

    Args:
        drawn: The lines, the most important last.
        label: Alternative text.
        levels: Names and values of horizontal reference lines.
        ticks: Positions and labels of ticks on the x axis.
        mark: Position of a vertical line; NaN for none.
        log: Whether the x axis is logarithmic; x must then be positive.
        height: Height in pixels.
        least: Smallest span of the y axis, so that noise does not fill the chart.
    """
    levels = [level for level in levels if math.isfinite(level[1])]
    heights = [v for line in drawn for v in (*line.y, *sum(line.band, ())) if math.isfinite(v)]
    xs = [v for line in drawn for v in line.x]
    if not heights or not xs:
        return None
    across = Scale(min(xs), max(xs), log)
    up = _room([*heights, *(level[1] for level in levels)], least)
    parts = _rules(up)
    parts += _levels(up, levels, height)
    if math.isfinite(mark) and across.low <= mark <= across.high:
        at = percent(across(mark))
        parts.append(tag("line", class_="mark", x1=at, x2=at, y1="0", y2="100%"))
    paths = [_band(across, up, line) for line in drawn if line.band]
    paths += [_path(across, up, line) for line in drawn]
    parts.append(tag("svg", paths, viewBox="0 0 100 100", preserveAspectRatio="none"))
    parts += [point for line in drawn if line.points for point in _points(across, up, line)]
    parts += [_tick(across, x, text) for x, text in ticks]
    return image("lines", parts, label=label, height=height)


def sample(look: str) -> Markup:
    """Draw a sample of a line, for a legend."""
    path = tag("path", class_=f"line {look}", d="M1 4H27")
    return image("sample", path, viewBox="0 0 28 8")


def _room(heights: Sequence[float], least: float) -> Scale:
    """Return the scale of the y axis, with a margin above and below."""
    low, high = min(heights), max(heights)
    missing = max(0.0, least - (high - low)) / 2
    low, high = low - missing, high + missing
    margin = 0.08 * (high - low) or 0.05 * max(abs(high), 1e-3)
    return Scale(low - margin, high + margin)


def _digits(values: Sequence[float], fewest: int, most: int) -> int:
    """Return the number of decimals that round values need."""
    exact = (d for d in range(fewest, most) if all(abs(v - round(v, d)) < 1e-9 for v in values))
    return next(exact, most)


def _rules(up: Scale) -> list[Markup]:
    values = up.ticks()
    digits = _digits(values, 2, 4)
    parts = []
    for value in values:
        y = percent(100 - up(value))
        text = human.decimal(value, digits)
        parts.append(tag("line", class_="rule", x1="0", x2="100%", y1=y, y2=y))
        parts.append(tag("text", text, class_="axis", x="0", dx=-8, y=y, dy=4, text_anchor="end"))
    return parts


def _levels(up: Scale, levels: Sequence[tuple[str, float]], height: int) -> list[Markup]:
    parts = []
    ordered = sorted((100 - up(value), name) for name, value in levels)
    for i, (at, name) in enumerate(ordered):
        y = percent(at)
        # Lines rise, so a high level is labelled on the left and a low level on the right; of two
        # levels that are close, one is labelled above its line and the other below.
        high = at < 50
        above, below = (
            0 <= j < len(ordered) and abs(ordered[j][0] - at) < _NAME * 100 / height
            for j in (i + 1, i - 1)
        )
        over = high if above == below else above
        side = {"x": "0", "dx": 4, "text_anchor": "start"} if high else {
            "x": "100%", "dx": -4, "text_anchor": "end"}  # fmt: skip
        parts.append(tag("line", class_="level", x1="0", x2="100%", y1=y, y2=y))
        parts.append(tag("text", name, class_="level", y=y, dy=-5 if over else 14, **side))
    return parts


def _path(across: Scale, up: Scale, line: Line) -> Markup:
    path, gap = [], True
    for x, y in zip(line.x, line.y, strict=True):
        if not math.isfinite(y):
            gap = True
            continue
        path.append(f"{'M' if gap else 'L'}{across(x):.2f} {100 - up(y):.2f}")
        gap = False
    return tag("path", class_=f"line {line.look}", d="".join(path))


def _band(across: Scale, up: Scale, line: Line) -> Markup:
    ends = [
        (x, *ends)
        for x, ends in zip(line.x, line.band, strict=True)
        if all(map(math.isfinite, ends))
    ]
    upper = [f"{across(x):.2f} {100 - up(high):.2f}" for x, _, high in ends]
    lower = [f"{across(x):.2f} {100 - up(low):.2f}" for x, low, _ in reversed(ends)]
    return tag("path", class_=f"band {line.look}", d=f"M{'L'.join(upper + lower)}z" if ends else "")


def _points(across: Scale, up: Scale, line: Line) -> list[Markup]:
    return [
        tag("circle", tag("title", f"{line.name}: {human.decimal(y, 3)}"), class_=line.look,
            cx=percent(across(x)), cy=percent(100 - up(y)), r=3.5)
        for x, y in zip(line.x, line.y, strict=True)
        if math.isfinite(y)
    ]  # fmt: skip


def _tick(across: Scale, x: float, text: str) -> Markup:
    at = across(x)
    anchor = "start" if at < 2 else "end" if at > 98 else "middle"
    return tag("text", text, class_="axis", x=percent(at), y="100%", dy=20, text_anchor=anchor)


# intervals

_REACH = 5.0  # largest extent of a scale relative to the median row, if outliers are cut
_LEAST = 0.01  # smallest span of a scale, so that noise does not fill the chart


class Interval(NamedTuple):
    """A difference with its 95 % interval."""

    mean: float
    low: float
    high: float


def forest_scale(gaps: Sequence[Interval]) -> tuple[Scale, bool]:
    """Return a scale that includes 0 for some intervals, and whether intervals extend beyond it.

    A few outliers would compress all other rows to the zero line: if the largest extent is more
    than twice `_REACH` times the median, the scale is cut at the latter.
    """
    low = min((gap.low for gap in gaps), default=0.0)
    high = max((gap.high for gap in gaps), default=0.0)
    each = sorted(max(abs(gap.low), abs(gap.high)) for gap in gaps)
    reach = max(_REACH * each[len(each) // 2], _LEAST) if each else _LEAST
    cut = max(-low, high) > 2 * reach
    if cut:
        low, high = max(low, -reach), min(high, reach)
    low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.04 * (high - low) + max(0.0, _LEAST - (high - low)) / 2
    return Scale(low - margin, high + margin), cut


def forest_axis(over: Scale) -> Markup:
    """Draw the axis labels of a scale of intervals."""
    values = over.ticks(4)
    step = values[1] - values[0]  # there are at least two: a step is at most half of the scale
    digits = next((d for d in range(1, 6) if abs(step - round(step, d)) < step / 100), 6)
    texts = [
        tag("text", "0" if abs(v) < step / 2 else human.signed(v, digits), x=percent(over(v)),
            y=14, text_anchor="middle", class_="minor" if round(v / step) % 2 else "major")
        for v in values
    ]  # fmt: skip
    return image("forest", texts, height=18)


def forest(over: Scale, gap: Interval | None, verdict: str, label: str) -> Markup:
    """Draw one row: its interval as a line, its mean as the mark of its verdict.

    Args:
        over: The scale.
        gap: The difference; None for the reference, which is at 0, and for rows without one.
        verdict: A key of `VERDICTS` or "".
        label: Alternative text and tooltip.
    """
    parts = [tag("title", label)]
    for value in over.ticks(4):
        look, at = "zero" if abs(value) < 1e-12 else "rule", percent(over(value))
        parts.append(tag("line", class_=look, x1=at, x2=at, y1="-30%", y2="130%"))
    if gap is not None:
        low, high = percent(over.within(gap.low)), percent(over.within(gap.high))
        parts.append(tag("line", class_="whisker", x1=low, x2=high, y1="50%", y2="50%"))
        beyond = {0.0: gap.low < over.low, 100.0: gap.high > over.high}
        parts += [_at(edge, _ARROWS[edge], "beyond") for edge, yes in beyond.items() if yes]
    mean = 0.0 if verdict == "reference" else math.nan if gap is None else gap.mean
    if over.low <= mean <= over.high:  # False for NaN
        parts.append(_at(over(mean), VERDICTS.get(verdict, VERDICTS["tied"]), "mean"))
    return image(f"forest v-{verdict or 'none'}", parts, label=label, height=26)


def verdict_mark(verdict: str) -> Markup:
    """Draw the mark of a verdict, for a legend."""
    path = tag("path", class_="mean", d=VERDICTS[verdict])
    return image(f"forest v-{verdict} lone", path, viewBox="-8 -8 16 16")


def _at(x: float, path: str, look: str) -> Markup:
    return tag("svg", tag("path", class_=look, d=path), x=percent(x), y="50%")
