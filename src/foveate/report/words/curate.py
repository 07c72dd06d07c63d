"""What a selection of training patches came to, against random picks of as many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from foveate.report import human
from foveate.report.words import Headline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.report.chance import Against


_NO_PROOF = (
    "An estimate from what a probe on frozen features can tell: a label that it does not expect "
    "may be right and rare, and agreement is no proof that a label is right. It misses classes "
    "that are always taken for each other. Look at the patches before labels are changed."
)


class WrongLabels(NamedTuple):
    """What a method found that looks for wrong labels.

    Attributes:
        pool: Estimated share of wrong labels over all pixels that were judged; NaN without any.
        picks: Mean share of the picks.
        first: Share of the first pick.
        unjudged: Patches that could not be judged.
        clean: Whether the best labels come first.
    """

    pool: float
    picks: float
    first: float
    unjudged: int
    clean: bool


class Picks(NamedTuple):
    """What one method kept.

    Attributes:
        method: Its name for people, short.
        kept: Patches.
        pool: Patches that there were.
        drawn: Whether the method draws at random.
        evenness: Class entropy of the picks, 0 to 1, against random picks; None without classes.
        entropy_pool: That of the pool; NaN without classes.
        rare: Share of the rarest class in the picks over its share in the pool, against random
            picks; None without classes.
        rarest: Name of that class.
        repeated: Share of the picks that overlap another pick.
        repeated_by_chance: The same of random picks.
        put_back: Patches that were ranked last because they share more than `overlap` of their
            ground with an earlier one.
        repeats: Picks among these, which the budget was too large to do without.
        overlap: Share of the ground.
        rules: Whether there were other rules besides (distance, groups, quotas, strata), which put
            back, too.
        wrong: What was found of wrong labels; None of methods that do not look for them.
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


def kept(found: Picks) -> Headline:
    """Say what a method kept, and whether its classes differ from those of random picks."""
    base = f"{human.count(found.kept)} of {human.plural(found.pool, 'patch', 'patches')} kept"
    if not found.kept:
        return Headline("No patch kept: the budget is below one patch")
    if found.wrong is not None:
        return _wrong_labels(found, found.wrong)
    if found.kept == found.pool:
        text = f"{base}: all of them, so nothing was chosen"
    elif found.drawn:
        text = f"{base}, drawn at random: the baseline for other methods"
    else:
        text = base + _compared(found)
    notes = (*_figures(found), *_repeats(found))
    return Headline(text, notes)


def _wrong_labels(found: Picks, wrong: WrongLabels) -> Headline:
    """Say how many labels are wrong by the estimate, and what that is worth."""
    if not math.isfinite(wrong.pool):
        text = "No label could be judged: that takes classes that at least two scenes or parts of "
        return Headline(f"{text}one show", tuple(_repeats(found)))
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
            f"{human.plural(wrong.unjudged, 'patch', 'patches')} could not be judged and "
            f"{'is' if one else 'are'} last: no label, or none of a class that others show."
        )
    return Headline(text, (*notes, *_repeats(found)))


def _compared(found: Picks) -> str:
    even, rare = found.evenness, found.rare
    if even is None or rare is None:
        return "; which classes they show is not known without masks"
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
    how = "not surely" if even.verdict == "open" else "no"
    return f": classes {how} more even than in random picks"


def _figures(found: Picks) -> list[str]:
    even, rare = found.evenness, found.rare
    if even is None or rare is None:
        return []
    text = f"Class entropy is {human.decimal(even.value)} (1: all classes equally common); the "
    text += f"pool has {human.decimal(found.entropy_pool)}, random picks of as many patches have "
    rows = [f"{text}{human.decimal(even.low)} to {human.decimal(even.high)}."]
    if rare.value == 0:
        often = "random picks may lack it, too" if rare.low == 0 else "random picks hold it"
        rows.append(f"The rarest class, {found.rarest}, is not in the selection; {often}.")
    else:
        rows.append(
            f"The rarest class, {found.rarest}, has {human.factor(rare.value)} its share in the "
            f"pool; in random picks {human.factor(rare.low)} to {human.factor(rare.high)}."
        )
    return rows


def _repeats(found: Picks) -> list[str]:
    rows = []
    if found.repeated > 0:
        rows.append(
            f"{human.share(found.repeated)} of the picks share pixels with another pick; "
            f"{human.share(found.repeated_by_chance)} of random picks would."
        )
    if found.rules:
        return rows + _broken(found)
    if found.repeats:
        rows.append(
            f"{human.count(found.repeats)} of the {human.count(found.kept)} picks share more than "
            f"{human.share(found.overlap)} of their ground with an earlier one: without those the "
            f"pool has {human.plural(found.kept - found.repeats, 'patch', 'patches')}."
        )
    elif found.put_back:
        one = found.put_back == 1
        rows.append(
            f"{human.plural(found.put_back, 'patch', 'patches')} that "
            f"{'shares' if one else 'share'} more than {human.share(found.overlap)} of "
            f"{'its' if one else 'their'} ground with an earlier one {'was' if one else 'were'} "
            "put at the end of the ranking."
        )
    return rows


def _broken(found: Picks) -> list[str]:
    """Say what the rules of a selection have put back."""
    if found.repeats:
        text = (
            f"{human.count(found.repeats)} of the {human.count(found.kept)} picks break a rule of "
        )
        return [
            text
            + "the selection (overlap, distance, groups, quota or strata): no patch else was left."
        ]
    if not found.put_back:
        return []
    patches = human.plural(found.put_back, "patch", "patches")
    text = f"{patches} that the rules of the selection forbid "
    return [text + f"{'was' if found.put_back == 1 else 'were'} put at the end of the ranking."]


def side_by_side(verdicts: Sequence[tuple[str, str]], same: Sequence[tuple[str, str]]) -> str:
    """Say which methods make classes more even than random picks, and which are alike.

    Args:
        verdicts: Short name and verdict on evenness of each method that does not draw at random;
            "" where there are no classes.
        same: Pairs of methods that kept the very same patches.
    """
    groups = {"better": [], "tied": [], "worse": []}
    for name, verdict in verdicts:
        if verdict:
            groups[verdict if verdict in {"better", "worse"} else "tied"].append(name)
    parts = []
    if any(groups.values()):
        if not groups["better"]:
            parts.append("No method makes classes surely more even than random picks do.")
        else:
            parts.append(f"Classes more even than in random picks: {', '.join(groups['better'])}.")
            if groups["tied"]:
                parts.append(f"Not surely different: {', '.join(groups['tied'])}.")
        if groups["worse"]:
            parts.append(f"Less even: {', '.join(groups['worse'])}.")
    parts += [f"{a} and {b} kept the very same patches." for a, b in same]
    return " ".join(parts)
