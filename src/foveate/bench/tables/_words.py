"""Sentences about rows, by rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.bench.cells import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from foveate.bench.cells import Verdict
    from foveate.bench.compare import Found

_WORDS = {"better": "better than", "worse": "worse than", "tied": "tied with"}
_TURNED: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}


def ahead_of_reference(found: Mapping[str, Found], name: str) -> Line | None:
    """Say how a row stands to its reference; better is what is hoped for."""
    row = found.get(name)
    if row is None or row.skipped or not row.reference:
        return None
    text = f"{name} is {_word(row.verdict, row, 1)} {row.reference}{_figures(row, 1)}"
    return Line(text, row.verdict == "better", row.verdict)


def reference_ahead_of(found: Mapping[str, Found], name: str) -> Line | None:
    """Say how the reference of a row stands to it; better is what is hoped for."""
    row = found.get(name)
    if row is None or row.skipped or not row.reference:
        return None
    verdict = _TURNED.get(row.verdict, row.verdict)
    text = f"{row.reference} is {_word(verdict, row, -1)} {row.label}{_figures(row, -1)}"
    return Line(text, verdict == "better", verdict)


def enough(text: str, value: float, least: float, others: Iterable[float]) -> Line:
    """Say whether a figure reaches a bar that was set beforehand.

    Args:
        text: The line.
        value: The figure.
        least: The bar.
        others: The same figure of other rows: where all of them reach the bar, it decides nothing.
    """
    if value >= least and all(other >= least for other in others):
        return Line(text, None, "equal")
    return Line(text, value >= least)


def present(lines: list[Line | None]) -> list[Line]:
    """Return the lines that there are."""
    return [line for line in lines if line is not None]


def best(rows: list[Found], lead: str) -> Found | None:
    """Return the row with most of a measure; None if no row has it."""
    known = [row for row in rows if lead in row.means]
    return max(known, key=lambda row: row.means[lead]) if known else None


def _word(verdict: str, row: Found, sign: int) -> str:
    """Return how a row stands; where it is open, on which side and that it is not sure."""
    if verdict in _WORDS:
        return _WORDS[verdict]
    if row.difference is None:
        return "not compared with"
    return "not surely ahead of" if sign * row.difference.mean > 0 else "not surely behind"


def _figures(row: Found, sign: int) -> str:
    gap = row.difference
    if gap is None:
        return " (all test scenes are one group: no interval)"
    ends = sorted((sign * gap.low, sign * gap.high))
    return f": {sign * gap.mean:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}]"
