"""Headline of a comparison of rankings: their similarity, and that of independent rankings."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from foveate.report import human
from foveate.report.words import Headline

if TYPE_CHECKING:
    from collections.abc import Sequence

TAU = "Kendall\u2019s \u03c4"


class Pair(NamedTuple):
    """Two rankings and their tau."""

    a: str
    b: str
    tau: float


class Top(NamedTuple):
    """How many patches are among the first `k` of every ranking."""

    name: str
    k: int
    agreed: int


def compared(
    pairs: Sequence[Pair],
    patches: int,
    rankings: int,
    sd: float,
    tops: Sequence[Top],
    *,
    left_out: Sequence[tuple[str, int]] = (),
    partial: Sequence[tuple[str, int]] = (),
    tied: Sequence[str] = (),
) -> Headline:
    """Return the headline: the most and the least similar rankings.

    Args:
        pairs: Pairs of rankings that have a tau.
        patches: Number of patches common to all pools.
        rankings: Number of rankings.
        sd: Standard deviation of the tau of independent orders of as many patches.
        tops: Numbers of patches among the first k of all rankings.
        left_out: Name and number of patches missing from other pools.
        partial: Name and number of ranked patches of rankings that do not rank every patch.
        tied: Lists with the same score for all patches.
    """
    of = f"{human.plural(rankings, 'ranking')} of {human.plural(patches, 'patch', 'patches')}"
    notes = [*_independent(pairs, sd), *_agreed(tops, patches, rankings)]
    notes += [
        f"{human.plural(count, 'patch', 'patches')} of {name} {'is' if count == 1 else 'are'} not "
        f"compared: {'it is' if count == 1 else 'they are'} missing from another pool."
        for name, count in left_out if count
    ]  # fmt: skip
    notes += [
        f"{name} ranks {human.count(count)} of {human.count(patches)} patches, so it has no \u03c4 "
        "and is not part of the average rank."
        for name, count in partial
    ]
    notes += [
        f"{name} has the same score for all patches: its row order was used." for name in tied
    ]
    return Headline(f"{of}: {_extremes(pairs)}", tuple(notes))


def _extremes(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return f"no two of them rank every patch, so there is no {TAU}"
    most, least = max(pairs, key=lambda p: p.tau), min(pairs, key=lambda p: p.tau)
    if len(pairs) == 1:
        return f"{TAU} of {most.a} and {most.b} is {human.decimal(most.tau)}"
    return (
        f"most similar are {most.a} and {most.b} ({TAU} {human.decimal(most.tau)}), least similar "
        f"{least.a} and {least.b} ({human.decimal(least.tau)})"
    )


def chance_limit(pairs: int, sd: float) -> float:
    """Return the 95 % limit of the largest absolute tau among `pairs` pairs of independent orders.

    Uses the normal approximation and Bonferroni's correction.
    """
    return NormalDist().inv_cdf(1 - 0.025 / pairs) * sd if pairs and math.isfinite(sd) else math.nan


def _independent(pairs: Sequence[Pair], sd: float) -> list[str]:
    """Return the number of pairs that are within the range of independent orders, as a sentence."""
    limit = chance_limit(len(pairs), sd)
    if not math.isfinite(limit):
        return []
    within = [p for p in pairs if abs(p.tau) <= limit]
    bound = f"independent orders of as many patches stay within \u00b1{human.decimal(limit)}"
    if not within:
        return [f"The \u03c4 of every pair is outside the range expected by chance: {bound}."]
    named = ", ".join(f"{p.a} and {p.b}" for p in within[:3])
    more = f" and {len(within) - 3} more" if len(within) > 3 else ""
    are = "is" if len(within) == 1 else "are"
    of = f"{len(within)} of {human.plural(len(pairs), 'pair')}"
    return [f"{of} {are} no more similar than by chance ({named}{more}): {bound}."]


def _agreed(tops: Sequence[Top], patches: int, rankings: int) -> list[str]:
    """Return the agreement of all rankings, at the smallest k with any."""
    top = next((top for top in tops if top.agreed), None)
    if top is None:
        return [f"No patch is among the first {tops[-1].name} of every ranking."] if tops else []
    expected = patches * (top.k / patches) ** rankings
    text = human.plural(top.agreed, "patch is", "patches are")
    chance = "less than one" if expected < 1 else human.count(expected)
    first = top.name.replace("%", f"{human.GAP}%")
    return [f"{text} among the first {first} of every ranking; expected by chance: {chance}."]
