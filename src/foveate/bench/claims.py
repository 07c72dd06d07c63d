"""Claims of tables, derived from the figures by rules: comparisons of rows with their reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.bench.conditions import Claim

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from foveate.bench.compare import Comparison
    from foveate.bench.conditions import Verdict

_WORDS = {
    "better": "better than",
    "worse": "worse than",
    "tied": "not significantly different from",
}
_REVERSED: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}


def ahead_of_reference(rows: Mapping[str, Comparison], name: str) -> Claim | None:
    """Compare a row with its reference; the claim holds if the row is better."""
    row = rows.get(name)
    if row is None or row.skipped or not row.reference:
        return None
    text = f"{name} is {_word(row.verdict, row, 1)} {row.reference}{_figures(row, 1)}"
    return Claim(text, row.verdict == "better", row.verdict)


def reference_ahead_of(rows: Mapping[str, Comparison], name: str) -> Claim | None:
    """Compare the reference of a row with it; the claim holds if the reference is better."""
    row = rows.get(name)
    if row is None or row.skipped or not row.reference:
        return None
    verdict = _REVERSED.get(row.verdict, row.verdict)
    text = f"{row.reference} is {_word(verdict, row, -1)} {row.label}{_figures(row, -1)}"
    return Claim(text, verdict == "better", verdict)


def enough(text: str, value: float, least: float, others: Iterable[float]) -> Claim:
    """Compare a figure with a threshold that was fixed in advance.

    Args:
        text: The text of the claim.
        value: The figure.
        least: The threshold.
        others: The same figure of other rows; if all of them are at least the threshold, the
            comparison is uninformative.
    """
    if value >= least and all(other >= least for other in others):
        return Claim(text, None, "equal")
    return Claim(text, value >= least)


def present(claims: list[Claim | None]) -> list[Claim]:
    """Return the claims that are not None."""
    return [claim for claim in claims if claim is not None]


def best(rows: list[Comparison], lead: str) -> Comparison | None:
    """Return the row with the highest mean of a measure; None if no row has it."""
    measured = [row for row in rows if lead in row.means]
    return max(measured, key=lambda row: row.means[lead]) if measured else None


def best_of_blocks(rows: Mapping[str, Comparison], lead: str, title: str) -> list[Claim]:
    """Return the best row of each block by a measure, which the text calls `title`."""
    claims = []
    for block in dict.fromkeys(row.block for row in rows.values()):
        first = best([row for row in rows.values() if row.block == block], lead)
        if first is not None:
            value = first.means[lead]
            claims.append(Claim(f"{block}: the best is {first.label}, {title} {value:.3f}"))
    return claims


def _word(verdict: str, row: Comparison, sign: int) -> str:
    """Return a verdict in words; an open one with the sign of the difference."""
    if verdict in _WORDS:
        return _WORDS[verdict]
    if row.difference is None:
        return "not compared with"
    side = "better" if sign * row.difference.mean > 0 else "worse"
    return f"not significantly {side} than"


def _figures(row: Comparison, sign: int) -> str:
    gap = row.difference
    if gap is None:
        return " (all test scenes are one group: no interval)"
    # Adding 0 turns -0 into 0.
    mean, low, high = (sign * value + 0.0 for value in (gap.mean, gap.low, gap.high))
    low, high = sorted((low, high))
    return f": {mean:+.3f} [{low:+.3f}, {high:+.3f}]"
