"""Headline of a benchmark of `focus`: the rows significantly better than their reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from foveate.report import human
from foveate.report.words import Headline
from foveate.report.words import bench as claims

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOK = "look-"


def is_told(block: str) -> bool:
    """Return whether the rows of a block were given the class to find."""
    return block.endswith("told what to find")


class Ahead(NamedTuple):
    """A row that is compared with a reference of its block."""

    label: str
    block: str
    verdict: str
    value: float
    reference: str
    level: float  # of the reference

    @property
    def told(self) -> bool:
        """Whether the method was given the class to find."""
        return is_told(self.block)

    @property
    def gain(self) -> float:
        """Difference from the reference."""
        return self.value - self.level


def looked(
    rows: Sequence[Ahead],
    measure: str,
    cautions: Sequence[str],
    *,
    rival: str = "the best other method",
    kinds: Sequence[str] = (),
) -> Headline:
    """Return the headline of looks compared with their references.

    Args:
        rows: The looks, each with the reference of its block.
        measure: Display name of the leading measure.
        cautions: Limitations of the figures.
        rival: General name of the references.
        kinds: Sentences about scenes of each kind; see `on_kind`.
    """
    better = [row for row in rows if row.verdict == "better"]
    worse = [row for row in rows if row.verdict == "worse"]
    if not rows:
        return Headline(f"{measure} was measured; no look was compared", tuple(cautions))
    notes = []
    if better:  # prefer methods that were not given the class to find
        best = max(better, key=lambda row: (not row.told, row.gain))
        where = f" with {best.block}" if best.block else ""
        text = (
            f"{best.label} is better{where}: {measure} {human.decimal(best.value, 3)}, "
            f"{best.reference} {human.decimal(best.level, 3)}"
        )
        others = len(better) - 1
        if others:
            notes.append(
                f"{human.plural(others, 'more row is', 'more rows are')} better than {rival}."
            )
    else:
        text = f"No look is significantly better than {rival} in {measure}"
    if worse:
        least = min(worse, key=lambda row: row.gain)
        notes.append(
            f"{len(worse)} of {human.plural(len(rows), 'row')} "
            f"{'is' if len(worse) == 1 else 'are'} worse, {least.label}"
            f"{f' with {least.block}' if least.block else ''} by the largest difference: "
            f"{human.decimal(least.value, 3)}, {least.reference} "
            f"{human.decimal(least.level, 3)}."
        )
    if undecided := len(rows) - len(better) - len(worse):
        notes.append(
            f"{undecided} of {human.plural(len(rows), 'row')} "
            f"{'is' if undecided == 1 else 'are'} not significantly different from {rival}."
        )
    return Headline(text, (*notes, *filter(None, kinds), *cautions))


def on_kind(kind: str, rows: Sequence[Ahead], rival: str) -> str:
    """Return the best look on the scenes of one kind, as a sentence; "" if `rows` is empty.

    Args:
        kind: Kind of the scenes.
        rows: The looks on these scenes; those that were given the class to find are ignored.
        rival: General name of the references.
    """
    better = [row for row in rows if row.verdict == "better" and not row.told]
    if not rows:
        return ""
    if not better:
        return f"On scenes of the kind {kind}, no look is significantly better than {rival}."
    best = max(better, key=lambda row: row.gain)
    where = f" with {best.block}" if best.block else ""
    return (
        f"On scenes of the kind {kind}, {best.label} is better{where}: "
        f"{human.decimal(best.value, 3)}, {best.reference} {human.decimal(best.level, 3)}."
    )


def said_of(title: str, said: Sequence[claims.Claim], cautions: Sequence[str]) -> Headline:
    """Return the headline of any other table: how many of its claims were reached."""
    return claims.benched([claims.Measured(title, said, cautions)])
