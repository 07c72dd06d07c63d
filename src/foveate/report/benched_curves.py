"""Curves over observed shares, of tables whose rows hold their heights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from foveate.report import human
from foveate.report.observed_lines import Line, chart, sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from foveate.report.benched_data import Row, Table

_KNOWN = {"random": 1, "learned": 0, "blend": 0, "oracle-gain": 5, "oracle-greedy": 6}
_FREE = (2, 3, 4, 7, 8, 9)  # looks for all others, in their order
_FEWEST = 2  # points of a line


class Curves(NamedTuple):
    """A chart of curves, the sample of each line by its row, and whether some are dashed."""

    chart: Markup
    samples: dict[str, Markup]
    dashed: bool


def curves(table: Table) -> Curves | None:
    """Draw how the rows of a table rise with the observed share; None where they hold no heights.

    Rows are called "WHO, COMPLETION". Those of the first completion are drawn; of the others,
    dashed, those of random and of learned tiles.
    """
    heights = {row.label: _heights(row) for row in table.rows}
    shares = sorted({share for found in heights.values() for share in found})
    if len(shares) < _FEWEST:
        return None
    looks = _looks(table.rows, heights)
    if not looks:
        return None
    lines = [
        Line(
            label, shares, [heights[label].get(s, math.nan) for s in shares], look,
            points="dashed" not in look,
        )
        for label, look in looks.items()
    ]  # fmt: skip
    lines.sort(key=lambda line: (line.look.partition(" ")[0] == "k0", line.points))
    drawn = chart(
        lines, f"{table.title}: a line a row; the table below has the same figures",
        ticks=[(share, human.share(share)) for share in shares], mark=table.obr, log=True,
        height=380,
    )  # fmt: skip
    if drawn is None:
        return None
    dashed = any("dashed" in look for look in looks.values())
    return Curves(drawn, {label: sample(look) for label, look in looks.items()}, dashed)


def _heights(row: Row) -> dict[float, float]:
    """Return share -> height."""
    found = {}
    for name, value in row.means.items():
        share = _share(name)
        if share > 0:
            found[share] = value
    return found


def _share(name: str) -> float:
    """Return the share that a measure is of, "@0.12"; 0 for those of none."""
    try:
        value = float(name[1:]) if name.startswith("@") else 0.0
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _looks(rows: Sequence[Row], heights: Mapping[str, dict[float, float]]) -> dict[str, str]:
    """Return the rows that are drawn, each with its look."""
    names = [row.label for row in rows if heights[row.label]]
    ways = list(dict.fromkeys(name.rpartition(", ")[2] for name in names))
    whose = list(dict.fromkeys(_who(name) for name in names))
    others = [who for who in whose if who not in _KNOWN]
    number = _KNOWN | {who: _FREE[i % len(_FREE)] for i, who in enumerate(others)}
    found = {}
    for name in names:
        who, way = _who(name), name.rpartition(", ")[2]
        if not name.rpartition(", ")[0] or way == ways[0]:
            found[name] = f"k{number[who]}"
        elif who in {"random", "learned"}:
            found[name] = f"k{number[who]} dashed"
    return found


def _who(name: str) -> str:
    return name.rpartition(", ")[0] or name
