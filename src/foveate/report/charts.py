"""The charts of the report: bars of SVG and tables, made without scripts.

Why not a charts library: Plotly's script alone is 4.5 MB and draws in the reader's browser, so
the page would open empty and late, print what the script made of it, ignore the switch to dark
mode and need ``style-src 'unsafe-inline'``. All that this page draws are bars, stacked bars and
tinted tables. As plain SVG they are a few hundred bytes each, follow the style sheet, are there
without scripts, and leave a Content-Security-Policy that allows nothing but two hashes.

Lengths are percentages, so a chart fills its box at any width while its text keeps its size.
Everything variable passes through `Markup.format`, which escapes it.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from foveate.report import human

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.report.numbers import Histogram

_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_SLIVER = 0.004  # shares under this are not drawn: less than a pixel of a thumbnail
_HEIGHT = 200  # pixels, histogram
_SQUARES = 1200  # squares of the pool chart


def colour(value: str) -> str:
    """Return a colour that is one, and grey for anything else."""
    return value if _COLOUR.fullmatch(value) else "#888888"


def stacked(shares: Sequence[float], names: Sequence[str], colors: Sequence[str]) -> Markup:
    """Draw the class shares of one patch as one thin bar.

    Args:
        shares: C shares that sum to 1, or all NaN for a patch without a counted pixel.
        names: C names.
        colors: C colours "#RRGGBB".
    """
    parts, start = [], 0.0
    for share, name, color in zip(shares, names, colors, strict=True):
        if share >= _SLIVER:  # not true of NaN
            parts.append(
                Markup(
                    '<rect x="{:.1f}%" width="{:.1f}%" fill="{}"><title>{} {}</title></rect>'
                ).format(100 * start, 100 * share, colour(color), name, human.share(share))
            )
            start += share
    largest = sorted(zip(shares, names, strict=True), key=lambda pair: -pair[0])[:3]
    label = ", ".join(f"{n} {human.share(s)}" for s, n in largest if s >= _SLIVER)
    return Markup('<svg class="stack" role="img" aria-label="{}">{}</svg>').format(
        label or "no class counted", Markup().join(parts)
    )


def twin(pool: float, kept: float, largest: float, color: str, name: str) -> Markup:
    """Draw a class's share in the pool (outline) and in the selection (filled), one over the other.

    Args:
        pool: Share in the pool.
        kept: Share in the selection.
        largest: Share that fills the width.
        color: Colour of the class.
        name: Name of the class.
    """
    scale = 100 / largest if largest > 0 else 0.0
    pool, kept = (0.0 if math.isnan(v) else v for v in (pool, kept))
    return Markup(
        '<svg class="twin" aria-hidden="true">'
        '<rect class="before" y="0" width="{:.2f}%" height="8" rx="1">'
        "<title>{}: {} of the pool</title></rect>"
        '<rect class="after" y="10" width="{:.2f}%" height="14" rx="2" fill="{}">'
        "<title>{}: {} of the selection</title></rect></svg>"
    ).format(
        max(pool * scale, 0.2), name, human.share(pool),
        max(kept * scale, 0.2), colour(color), name, human.share(kept),
    )  # fmt: skip


def bar(share: float, label: str, tick: float = math.nan) -> Markup:
    """Draw one horizontal bar.

    Args:
        share: Filled part, 0 to 1; NaN is empty.
        label: What it says.
        tick: Where to draw a reference mark, 0 to 1; NaN for none.
    """
    mark = Markup()
    if math.isfinite(tick):
        mark = Markup('<line class="tick" x1="{0:.2f}%" x2="{0:.2f}%" y1="-3" y2="11"/>').format(
            100 * min(max(tick, 0), 1)
        )
    return Markup(
        '<svg class="bar" aria-hidden="true">'
        '<rect class="track" width="100%" height="100%" rx="2"/>'
        '<rect class="fill" width="{:.2f}%" height="100%" rx="2"/>{}<title>{}</title></svg>'
    ).format(max(100 * share, 0.6) if share > 0 else 0, mark, label)  # NaN is not above 0


def histogram(
    found: Histogram, *, cut: str = "budget ends", one: str = "patch", many: str = "patches"
) -> Markup:
    """Draw scores in bins, the kept part filled, with a line where the budget ends.

    Args:
        found: The bins.
        cut: What happens at the line.
        one: What is counted.
        many: Several of them.
    """
    bins = found.all.size
    top = max(int(found.all.max()), 1)
    width = 100 / bins
    span = found.high - found.low or 1.0
    parts = []
    for i, (total, kept) in enumerate(zip(found.all.tolist(), found.kept.tolist(), strict=True)):
        if not total:
            continue
        low = found.low + span * i / bins
        text = f"{human.decimal(low)} to {human.decimal(low + span / bins)}: "
        text += f"{human.plural(total, one, many)}, {human.count(kept)} kept"
        parts.append(
            Markup(
                '<g><rect class="hit" x="{0:.3f}%" width="{1:.3f}%" height="100%"/>'
                '<rect class="rest" x="{0:.3f}%" y="{2:.2f}%" width="{3:.3f}%" height="{4:.2f}%"/>'
                '<rect class="kept" x="{0:.3f}%" y="{5:.2f}%" width="{3:.3f}%" height="{6:.2f}%"/>'
                "<title>{7}</title></g>"
            ).format(
                i * width,
                width,
                100 - 88 * total / top,
                width * 0.86,
                88 * (total - kept) / top,
                100 - 88 * kept / top,
                88 * kept / top,
                text,
            )
        )
    if math.isfinite(found.line):
        x = 100 * (found.line - found.low) / span
        parts.append(
            Markup(
                '<line class="cut" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>'
                '<text class="cut" x="{0:.2f}%" dx="{1}" y="11" text-anchor="{2}">{4} '
                "at {3}</text>"
            ).format(
                x,
                -6 if x > 50 else 6,
                "end" if x > 50 else "start",
                human.decimal(found.line, 3),
                cut,
            )
        )
    label = (
        f"Histogram of scores from {human.decimal(found.low)} to {human.decimal(found.high)}; "
        f"the {cut} at {human.decimal(found.line, 3)}"
    )
    return Markup('<svg class="hist" role="img" aria-label="{}" height="{}">{}</svg>').format(
        label, _HEIGHT, Markup().join(parts)
    )


def per_square(n: int) -> int:
    """Return how many tiles one square of `pool` stands for."""
    return max(1, math.ceil(n / _SQUARES))


def pool(strength: NDArray[np.float64], label: str) -> Markup:
    """Draw the pool as squares in the order of its tiles, the picks filled.

    Args:
        strength: (n,) 0 for what was not kept, up to 1 for the first pick. Beyond 1200 tiles
            a square stands for several and shows their mean, relative to the fullest square.
        label: What it says.
    """
    each = per_square(strength.size)
    padded = np.zeros(math.ceil(strength.size / each) * each)
    padded[: strength.size] = strength
    value = padded.reshape(-1, each).mean(axis=1)
    value /= max(float(value.max(initial=0)), 1e-12)
    columns = max(1, math.ceil(math.sqrt(value.size * 1.25)))
    rows = math.ceil(value.size / columns)
    level = np.ceil(value * 4).astype(int)  # five tints are enough to see, and five paths small
    parts = []
    for step in range(5):
        path = "".join(
            f"M{i % columns} {i // columns}h.78v.78h-.78z" for i in np.flatnonzero(level == step)
        )
        parts.append(Markup('<path class="s{}" d="{}"/>').format(step, path))
    return Markup(
        '<svg class="pool" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(columns, rows, label, Markup().join(parts))


def tint(value: float) -> str:
    """Return the style class of a heat-map cell: h0 ... h10, with "neg" below zero."""
    if not math.isfinite(value):
        return "none"
    step = round(10 * min(abs(value), 1))
    return f"h{step} neg" if value < 0 and step else f"h{step}"
