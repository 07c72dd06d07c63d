"""Headline of a selection of training patches, compared with random picks of the same number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from foveate.report import human
from foveate.report.words import Headline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.report.chance import Against


_NO_PROOF = (
    "This is an estimate of a probe on frozen features: an unexpected label may be right and rare, "
    "and an expected label may be wrong. Classes that are always confused are not detected. Look "
    "at the patches before changing labels."
)


class WrongLabels(NamedTuple):
    """Results of a method that detects wrong labels.

    Attributes:
        pool: Estimated share of wrong labels over all scored pixels; NaN if there are none.
        picks: Mean share of the picks.
        first: Share of the first pick.
        unjudged: Number of patches that could not be scored.
        clean: Whether patches with the best labels rank first.
    """

    pool: float
    picks: float
    first: float
    unjudged: int
    clean: bool


class Picks(NamedTuple):
    """The selection of one method.

    Attributes:
        method: Short display name of the method.
        kept: Number of selected patches.
        pool: Number of patches of the pool.
        drawn: Whether the method draws at random.
        evenness: Class entropy of the picks, 0 to 1, against random picks; None without classes.
        entropy_pool: Class entropy of the pool; NaN without classes.
        rare: Share of the rarest class in the picks over its share in the pool, against random
            picks; None without classes.
        rarest: Name of that class.
        repeated: Share of the picks that overlap another pick.
        repeated_by_chance: The same share for random picks.
        put_back: Number of patches ranked last because they share more than `overlap` of their
            area with an earlier one.
        repeats: Number of these that were selected because the budget was too large to avoid them.
        overlap: Largest allowed share of the area.
        rules: Whether other rules (distance, groups, quotas, strata) also moved patches to the end.
        wrong: Results on wrong labels; None for methods that do not detect them.
        constant: Number of patches ranked last because they have one value in each band.
        constant_picks: Number of these that were selected.
    """

    method: str
    kept: int
    pool: int
    drawn: bool = False
    evenness: Against | None = None
    entropy_pool: float = math.nan
    rare: Against | None = None
    rarest: str = ""
    repeated: float = 0.0
    repeated_by_chance: float = 0.0
    put_back: int = 0
    repeats: int = 0
    overlap: float = 0.5
    rules: bool = False
    wrong: WrongLabels | None = None
    constant: int = 0
    constant_picks: int = 0


def kept(found: Picks) -> Headline:
    """Return the headline: the selection and its class balance against random picks."""
    base = f"{human.count(found.kept)} of {human.plural(found.pool, 'patch', 'patches')} kept"
    if not found.kept:
        return Headline("No patch kept: the budget is below one patch")
    if found.wrong is not None:
        return _wrong_labels(found, found.wrong)
    if found.kept == found.pool:
        text = f"{base}: all of them, so no selection was made"
    elif found.drawn:
        text = f"{base}, drawn at random: the baseline for other methods"
    else:
        text = base + _compared(found)
    notes = (*_figures(found), *_repeats(found))
    return Headline(text, notes)


def _wrong_labels(found: Picks, wrong: WrongLabels) -> Headline:
    """Return the headline: the estimated share of wrong labels."""
    if not math.isfinite(wrong.pool):
        text = "No label could be tested: a class must occur in at least two scenes or in two "
        return Headline(f"{text}parts of a scene", tuple(_repeats(found)))
    patches = human.plural(found.kept, "patch", "patches")
    order = "best" if wrong.clean else "worst"
    text = f"An estimated {human.share(wrong.pool)} of the labelled pixels carry a wrong label; "
    text += f"in the {patches} with the {order} labels {human.share(wrong.picks)}"
    notes = [_NO_PROOF]
    if not wrong.clean and math.isfinite(wrong.first):
        notes.append(f"The worst patch has {human.share(wrong.first)} by this estimate.")
    if wrong.unjudged:
        one = wrong.unjudged == 1
        notes.append(
            f"{human.plural(wrong.unjudged, 'patch', 'patches')} could not be tested and "
            f"{'is' if one else 'are'} ranked last: without labels, or without a class that occurs "
            "in other scenes."
        )
    return Headline(text, (*notes, *_repeats(found)))


def _compared(found: Picks) -> str:
    even, rare = found.evenness, found.rare
    if even is None or rare is None:
        return "; without masks their classes are not known"
    name = f"the rarest class, {found.rarest}"
    more = f"{human.factor(rare.value / rare.mean)} as much of {name}," if rare.mean > 0 else ""
    if even.verdict == "better":
        if rare.verdict == "better" and more:
            return f": classes more even than in random picks, with {more.rstrip(',')}"
        return ": classes more even than in random picks"
    if even.verdict == "worse":
        return ": classes less even than in random picks"
    if rare.verdict == "better" and more:
        return f": {more} as random picks have, but classes no more even"
    how = "not significantly" if even.verdict == "open" else "no"
    return f": classes {how} more even than in random picks"


def _figures(found: Picks) -> list[str]:
    even, rare = found.evenness, found.rare
    if even is None or rare is None:
        return []
    text = f"Class entropy is {human.decimal(even.value)} (1: all classes equally common); the "
    text += f"pool has {human.decimal(found.entropy_pool)}, random picks of as many patches have "
    rows = [f"{text}{human.decimal(even.low)} to {human.decimal(even.high)}."]
    if rare.value == 0:
        often = "may also miss it" if rare.low == 0 else "contain it"
        rows.append(
            f"The rarest class, {found.rarest}, is not in the selection; random picks {often}."
        )
    else:
        rows.append(
            f"The rarest class, {found.rarest}, has {human.factor(rare.value)} its share in the "
            f"pool; in random picks, {human.factor(rare.low)} to {human.factor(rare.high)}."
        )
    return rows


def _repeats(found: Picks) -> list[str]:
    rows = []
    if found.repeated > 0:
        rows.append(
            f"{human.share(found.repeated)} of the picks share pixels with another pick; of random "
            f"picks, {human.share(found.repeated_by_chance)}."
        )
    rows += _constant(found)
    if found.rules:
        return rows + _broken(found)
    if found.repeats:
        others = found.kept - found.repeats - found.constant_picks
        rows.append(
            f"{human.count(found.repeats)} of the {human.count(found.kept)} picks share more than "
            f"{human.share(found.overlap)} of their area with an earlier one: without them the "
            f"pool has {human.plural(others, 'patch', 'patches')}"
            f"{' with content' if found.constant_picks else ''}."
        )
    elif found.put_back:
        one = found.put_back == 1
        rows.append(
            f"{human.plural(found.put_back, 'patch', 'patches')} that "
            f"{'shares' if one else 'share'} more than {human.share(found.overlap)} of "
            f"{'its' if one else 'their'} area with an earlier one {'was' if one else 'were'} "
            "moved to the end of the ranking."
        )
    return rows


def _constant(found: Picks) -> list[str]:
    """Return the number of patches without content, as a sentence."""
    if not found.constant:
        return []
    one = found.constant == 1
    text = (
        f"{human.plural(found.constant, 'patch', 'patches')} {'has' if one else 'have'} the same "
        f"value in all pixels of each band (blank or filled areas) and {'is' if one else 'are'} "
        "ranked last"
    )
    if found.constant_picks:
        picks = human.plural(found.kept, "pick")
        such = "is such a patch" if found.constant_picks == 1 else "are such patches"
        text += f"; {human.count(found.constant_picks)} of the {picks} {such}"
    return [text + "."]


def _broken(found: Picks) -> list[str]:
    """Return the number of patches that violate the rules of the selection, as a sentence."""
    if found.repeats:
        text = (
            f"{human.count(found.repeats)} of the {human.count(found.kept)} picks violate a rule "
        )
        return [
            text
            + "of the selection (overlap, distance, groups, quota or strata): no other patch was "
            "left."
        ]
    if not found.put_back:
        return []
    patches = human.plural(found.put_back, "patch", "patches")
    text = f"{patches} that the rules of the selection exclude "
    return [text + f"{'was' if found.put_back == 1 else 'were'} moved to the end of the ranking."]


def side_by_side(verdicts: Sequence[tuple[str, str]], same: Sequence[tuple[str, str]]) -> str:
    """Return which methods balance classes better than random picks, and which are identical.

    Args:
        verdicts: Short name and verdict on evenness of each method that does not draw at random;
            "" without classes.
        same: Pairs of methods that selected the same patches.
    """
    groups = {"better": [], "tied": [], "worse": []}
    for name, verdict in verdicts:
        if verdict:
            groups[verdict if verdict in {"better", "worse"} else "tied"].append(name)
    parts = []
    if any(groups.values()):
        if not groups["better"]:
            parts.append("No method makes classes significantly more even than random picks.")
        else:
            parts.append(f"Classes more even than in random picks: {', '.join(groups['better'])}.")
            if groups["tied"]:
                parts.append(f"Not significantly different: {', '.join(groups['tied'])}.")
        if groups["worse"]:
            parts.append(f"Less even: {', '.join(groups['worse'])}.")
    parts += [f"{a} and {b} selected the same patches." for a, b in same]
    return " ".join(parts)
