"""What a benchmark of `focus` came to: what is ahead beyond the noise, or that nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from foveate.report import human
from foveate.report.words import Headline
from foveate.report.words import bench as claims

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOK = "look-"


def is_told(block: str) -> bool:
    """Say whether the rows of a block were told what to find."""
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
        """Whether it was told what to find."""
        return is_told(self.block)

    @property
    def gain(self) -> float:
        """How far it is above the reference."""
        return self.value - self.level


def looked(
    rows: Sequence[Ahead],
    measure: str,
    cautions: Sequence[str],
    *,
    rival: str = "the best other method",
    kinds: Sequence[str] = (),
) -> Headline:
    """Return the headline of looks against what they are compared with.

    Args:
        rows: The looks, with the reference of their block.
        measure: The leading measure, for people.
        cautions: What makes the figures weak.
        rival: What they are compared with, in general.
        kinds: What is said of scenes of each kind; see `on_kind`.
    """
    better = [row for row in rows if row.verdict == "better"]
    worse = [row for row in rows if row.verdict == "worse"]
    if not rows:
        return Headline(f"{measure} was measured; no look was compared", tuple(cautions))
    notes = []
    if better:  # who is told what to find does not stand for the others
        best = max(better, key=lambda row: (not row.told, row.gain))
        where = f" with {best.block}" if best.block else ""
        text = (
            f"{best.label} is ahead{where}: {measure} {human.decimal(best.value, 3)}, where "
            f"{best.reference} has {human.decimal(best.level, 3)}"
        )
        others = len(better) - 1
        if others:
            notes.append(
                f"{human.plural(others, 'more row is', 'more rows are')} ahead of {rival}."
            )
    else:
        text = f"No look is ahead of {rival} in {measure} beyond the noise"
    if worse:
        least = min(worse, key=lambda row: row.gain)
        notes.append(
            f"{len(worse)} of {human.plural(len(rows), 'row')} behind, {least.label}"
            f"{f' with {least.block}' if least.block else ''} most: "
            f"{human.decimal(least.value, 3)} to {human.decimal(least.level, 3)} of "
            f"{least.reference}."
        )
    if rest := len(rows) - len(better) - len(worse):
        notes.append(
            f"{rest} of {human.plural(len(rows), 'row')} cannot be told apart from {rival}."
        )
    return Headline(text, (*notes, *filter(None, kinds), *cautions))


def on_kind(kind: str, rows: Sequence[Ahead], rival: str) -> str:
    """Say which look is ahead on the scenes of one kind; "" where none was compared.

    Args:
        kind: Of scenes.
        rows: The looks on them, those that were not told what to find.
        rival: What they are compared with, in general.
    """
    better = [row for row in rows if row.verdict == "better" and not row.told]
    if not rows:
        return ""
    if not better:
        return f"On scenes of the kind {kind} no look is ahead of {rival}."
    best = max(better, key=lambda row: row.gain)
    where = f" with {best.block}" if best.block else ""
    return (
        f"On scenes of the kind {kind} {best.label} is ahead{where}: "
        f"{human.decimal(best.value, 3)}, where {best.reference} has "
        f"{human.decimal(best.level, 3)}."
    )


def said_of(title: str, said: Sequence[claims.Claim], cautions: Sequence[str]) -> Headline:
    """Return the headline of any other table: how many of its claims came true."""
    return claims.benched([claims.Measured(title, said, cautions)])
