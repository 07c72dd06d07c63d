"""Statements of tables, made by rule of the figures: who is ahead of the reference, by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.bench.conditions import Claim

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from foveate.bench.compare import Comparison
    from foveate.bench.conditions import Verdict

_WORDS = {"better": "better than", "worse": "worse than", "tied": "tied with"}
_TURNED: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}


def ahead_of_reference(found: Mapping[str, Comparison], name: str) -> Claim | None:
    """Say how a row stands to its reference; better is what is expected."""
    row = found.get(name)
    if row is None or row.skipped or not row.reference:
        return None
    text = f"{name} is {_word(row.verdict, row, 1)} {row.reference}{_figures(row, 1)}"
    return Claim(text, row.verdict == "better", row.verdict)


def reference_ahead_of(found: Mapping[str, Comparison], name: str) -> Claim | None:
    """Say how the reference of a row stands to it; better is what is expected."""
    row = found.get(name)
    if row is None or row.skipped or not row.reference:
        return None
    verdict = _TURNED.get(row.verdict, row.verdict)
    text = f"{row.reference} is {_word(verdict, row, -1)} {row.label}{_figures(row, -1)}"
    return Claim(text, verdict == "better", verdict)


def enough(text: str, value: float, least: float, others: Iterable[float]) -> Claim:
    """Say whether a figure reaches a bar that was set beforehand.

    Args:
        text: The line.
        value: The figure.
        least: The bar.
        others: The same figure of other rows: where all of them reach the bar, it decides nothing.
    """
    if value >= least and all(other >= least for other in others):
        return Claim(text, None, "equal")
    return Claim(text, value >= least)


def present(lines: list[Claim | None]) -> list[Claim]:
    """Return the lines that there are."""
    return [line for line in lines if line is not None]


def best(rows: list[Comparison], lead: str) -> Comparison | None:
    """Return the row with most of a measure; None if no row has it."""
    known = [row for row in rows if lead in row.means]
    return max(known, key=lambda row: row.means[lead]) if known else None


def best_of_blocks(found: Mapping[str, Comparison], lead: str, title: str) -> list[Claim]:
    """Say which row of each block has most of a measure, which is called `title`."""
    lines = []
    for block in dict.fromkeys(row.block for row in found.values()):
        first = best([row for row in found.values() if row.block == block], lead)
        if first is not None:
            value = first.means[lead]
            lines.append(Claim(f"{block}: the best is {first.label}, {title} {value:.3f}"))
    return lines


def _word(verdict: str, row: Comparison, sign: int) -> str:
    """Return how a row stands; where it is open, on which side and that it is not sure."""
    if verdict in _WORDS:
        return _WORDS[verdict]
    if row.difference is None:
        return "not compared with"
    return "not surely ahead of" if sign * row.difference.mean > 0 else "not surely behind"


def _figures(row: Comparison, sign: int) -> str:
    gap = row.difference
    if gap is None:
        return " (all test scenes are one group: no interval)"
    # Adding 0 makes 0 of -0.
    mean, low, high = (sign * value + 0.0 for value in (gap.mean, gap.low, gap.high))
    low, high = sorted((low, high))
    return f": {mean:+.3f} [{low:+.3f}, {high:+.3f}]"
