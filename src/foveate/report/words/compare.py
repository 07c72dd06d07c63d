"""How alike rankings are, and whether they are more alike than independent ones."""

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
    """Say which rankings are most and least alike.

    Args:
        pairs: Those with a tau.
        patches: Number of patches that all pools have.
        rankings: Number of rankings.
        sd: Standard deviation of the tau of independent orders of as many patches.
        tops: How much all of them agree on.
        left_out: Name and number of patches that other pools do not have.
        partial: Name and number of ranked patches of rankings that stop before the end.
        tied: Lists that state one score for all patches.
    """
    of = f"{human.plural(rankings, 'ranking')} of {human.plural(patches, 'patch', 'patches')}"
    notes = [*_independent(pairs, sd), *_agreed(tops, patches, rankings)]
    notes += [
        f"{human.plural(count, 'patch', 'patches')} of {name} {'is' if count == 1 else 'are'} not "
        "compared: another pool does not have them."
        for name, count in left_out if count
    ]  # fmt: skip
    notes += [
        f"{name} ranks {human.count(count)} of {human.count(patches)} patches, so it has no \u03c4 "
        "and no part in the average rank."
        for name, count in partial
    ]
    notes += [f"{name} states one score for all patches: its own order was taken." for name in tied]
    return Headline(f"{of}: {_extremes(pairs)}", tuple(notes))


def _extremes(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return f"no two of them rank every patch, so there is no {TAU}"
    most, least = max(pairs, key=lambda p: p.tau), min(pairs, key=lambda p: p.tau)
    if len(pairs) == 1:
        return f"{TAU} of {most.a} and {most.b} is {human.decimal(most.tau)}"
    return (
        f"most alike are {most.a} and {most.b} ({TAU} {human.decimal(most.tau)}), least "
        f"{least.a} and {least.b} ({human.decimal(least.tau)})"
    )


def chance_limit(pairs: int, sd: float) -> float:
    """Return the tau that none of so many pairs of independent orders exceeds, 95 of 100 times.

    By the normal approximation and Bonferroni's correction.
    """
    return NormalDist().inv_cdf(1 - 0.025 / pairs) * sd if pairs and math.isfinite(sd) else math.nan


def _independent(pairs: Sequence[Pair], sd: float) -> list[str]:
    """Say how many pairs are within what independent orders give."""
    limit = chance_limit(len(pairs), sd)
    if not math.isfinite(limit):
        return []
    within = [p for p in pairs if abs(p.tau) <= limit]
    bound = f"independent orders of as many patches stay within \u00b1{human.decimal(limit)}"
    if not within:
        return [f"Every pair is further from 0 than chance: {bound}."]
    named = ", ".join(f"{p.a} and {p.b}" for p in within[:3])
    more = f" and {len(within) - 3} more" if len(within) > 3 else ""
    are = "is" if len(within) == 1 else "are"
    of = f"{len(within)} of {human.plural(len(pairs), 'pair')}"
    return [f"{of} {are} no more alike than chance ({named}{more}): {bound}."]


def _agreed(tops: Sequence[Top], patches: int, rankings: int) -> list[str]:
    """Say what all agree on, at the smallest top where they do."""
    found = next((top for top in tops if top.agreed), None)
    if found is None:
        return [f"No patch is among the first {tops[-1].name} of every ranking."] if tops else []
    usual = patches * (found.k / patches) ** rankings
    text = human.plural(found.agreed, "patch is", "patches are")
    chance = "less than one" if usual < 1 else human.count(usual)
    first = found.name.replace("%", f"{human.GAP}%")
    said = f"{text} among the first {first} of every ranking"
    return [f"{said}; of independent ones {chance} would be."]
