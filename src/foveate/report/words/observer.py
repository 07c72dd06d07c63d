"""Headline of a trained observer, compared with random tiles, overviews alone, and the LR fill.

The difference from random tiles has an interval over groups of held-out scenes. The other
differences have none, so only their figures are stated.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import human
from foveate.report.human import number
from foveate.report.words import Headline
from foveate.stats import FEWEST

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING = 0.005  # differences of mAP or cosine below this are treated as zero
FEW_SCENES = 8  # with fewer evaluated scenes, another sample may reverse an order
CLEAR = 0.01  # smallest difference of mean curve heights for which another policy is recommended


class Worth(NamedTuple):
    """Measure of an observer at the share that it was trained for; NaN where not known.

    Attributes:
        measure: "tile mAP" or "centred cosine".
        obr: Observed share of the tiles.
        ours: Value of the completed scenes.
        fill: Value with the same observed tiles and the LR fill elsewhere.
        lr: Value of the overviews alone, without observed tiles.
        chance: Value of scenes completed from random tiles.
        full: Value if all tiles are observed.
    """

    measure: str
    obr: float
    ours: float
    fill: float
    lr: float
    chance: float
    full: float

    @property
    def added(self) -> float:
        """Difference of completion and the LR fill."""
        return self.ours - self.fill


class Compared(NamedTuple):
    """A policy against random tiles on held-out scenes.

    Attributes:
        measure: "tile mAP" or "centred cosine".
        value: Mean of the measure over the observed shares.
        random: The same mean for random tiles.
        low: Lower end of the 95 % interval of the difference; NaN where there is none.
        high: Upper end.
        verdict: "better", "worse", "tied", "open"; "" without an interval.
        groups: Number of groups of scenes that the bootstrap resamples.
        best: Policy with the highest value among those better than random tiles.
        best_value: Value of that policy.
    """

    measure: str
    value: float
    random: float
    low: float
    high: float
    verdict: str
    groups: int
    best: str = ""
    best_value: float = math.nan


def worth(evaluation: Mapping[str, Any]) -> Worth:
    """Return the main figures of an observer."""
    completions = evaluation.get("completions") or {}
    measure = str((evaluation.get("curve") or {}).get("measure", "tile mAP"))
    key = "tiles" if measure == "tile mAP" else "cosine"

    def of(entry: object) -> float:
        return number(entry.get(key)) if isinstance(entry, dict) else math.nan

    ours, fill, lr = (of(completions.get(name)) for name in ("ours", "fill", "LR only"))
    # The cosine is measured on unobserved tiles, and these differ for random tiles.
    chance = of(evaluation.get("random")) if key == "tiles" else math.nan
    return Worth(measure, number(evaluation.get("obr")), ours, fill, lr, chance,
                 of(completions.get("full")))  # fmt: skip


def compared(evaluation: Mapping[str, Any]) -> Compared | None:
    """Return the comparison of the trained policy with random tiles; None if not compared."""
    against = evaluation.get("against_random") or {}
    policies = against.get("policies") or {}
    learned = policies.get(str(against.get("trained") or "learned"))
    if not isinstance(learned, dict):
        return None
    measure = str((evaluation.get("curve") or {}).get("measure", "tile mAP"))
    better = {name: one for name, one in policies.items() if one.get("verdict") == "better"}
    areas = {name: number(one.get("area")) for name, one in better.items()}
    areas = {name: value for name, value in areas.items() if math.isfinite(value)}
    best = max(areas, key=lambda name: areas[name], default="")
    gap = learned.get("difference") or {}
    return Compared(
        measure, number(learned.get("area")), number(against.get("random")),
        number(gap.get("low")), number(gap.get("high")), str(learned.get("verdict") or ""),
        int(against.get("groups") or 0), best, areas.get(best, math.nan),
    )  # fmt: skip


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign."""
    text = human.decimal(value, digits)
    return (
        f"+{text}" if math.isfinite(value) and value > 0 and float(f"{value:.{digits}f}") else text
    )


def trained(evaluation: Mapping[str, Any]) -> Headline:
    """Return the headline of an observer, evaluated on held-out scenes."""
    found, gap = worth(evaluation), compared(evaluation)
    share = human.share(found.obr)
    if found.measure == "tile mAP" and not math.isfinite(found.ours):
        text = f"No {_evaluated(evaluation)} shows a concept, so the accuracy is not known"
    elif found.measure == "tile mAP":
        text = f"With {share} of the tiles observed, tile mAP {human.decimal(found.ours)}"
        ends = [
            f"{human.decimal(value)} from {what}"
            for value, what in ((found.lr, "overviews alone"), (found.full, "all tiles"))
            if math.isfinite(value)
        ]
        text += f" ({', '.join(ends)})" if ends else ""
    else:
        text = f"With {share} of the tiles observed, a centred cosine of "
        text += f"{human.decimal(found.ours)} on the unobserved tiles"
    if found.full - found.lr <= NOTHING:
        text += "; high resolution itself adds nothing on these scenes"
    else:
        text += f"; {_against_random(gap)}"
    notes = (_observing(found), _figures(gap), _used(evaluation), _completion(found),
             _other(gap, evaluation), _absent(evaluation), _doubtful(evaluation))  # fmt: skip
    return Headline(text, tuple(note for note in notes if note))


def against_random(gap: Compared | None) -> str:
    """Return the result of a policy against random tiles, as the predicate of "this selection"."""
    if gap is None or not gap.verdict:
        return "was not tested against random tiles"
    if gap.verdict == "better":
        return "was better than random tiles"
    if gap.verdict == "worse":
        return "was worse than random tiles"
    return "was no better than random tiles" if gap.verdict == "tied" else (
        "was not significantly better than random tiles"
    )  # fmt: skip


def _against_random(gap: Compared | None) -> str:
    if gap is None or not gap.verdict:
        return "its selection was not tested against random tiles"
    return {
        "better": "its selection is better than random tiles",
        "worse": "its selection is worse than random tiles",
        "tied": "its selection is no better than random tiles",
    }.get(gap.verdict, "its selection is not significantly better than random tiles")


def figures(gap: Compared | None) -> str:
    """Return the figures of a comparison with random tiles; "" if there are none."""
    if gap is None or not math.isfinite(gap.value):
        return ""
    text = f"over the observed shares, mean {gap.measure} {human.decimal(gap.value, 3)}, random "
    text += f"tiles {human.decimal(gap.random, 3)}"
    if not math.isfinite(gap.low):
        return f"{text}; all scenes are in one group, so the difference has no interval"
    text += f"; difference {signed(gap.value - gap.random)}, 95{human.GAP}% interval "
    text += f"{signed(gap.low)} to {signed(gap.high)} over {human.plural(gap.groups, 'group')}"
    text += " of scenes"
    if gap.verdict != "open":
        return text
    if gap.groups < FEWEST:
        return f"{text}, which are too few for a verdict"
    return f"{text}, not significant after Holm\u2019s correction for the number of policies"


def _figures(gap: Compared | None) -> str:
    text = figures(gap)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _used(evaluation: Mapping[str, Any]) -> str:
    """Return the policy that a selection uses, as a sentence; "" for the learned policy."""
    against = evaluation.get("against_random") or {}
    used, trained = str(against.get("policy") or "learned"), against.get("trained")
    if used == "learned":
        return ""
    values = [number(value) for value in (against.get("validation") or {}).values()]
    if values and not any(math.isfinite(value) for value in values):
        return (
            f"A selection uses the policy {used}, since no validation scene shows a concept to "
            f"compare policies by; --policy {trained} uses the trained policy."
        )
    if used == trained:
        return f"A selection uses the policy {used}, the best on validation scenes."
    return (
        f"Therefore a selection uses the policy {used}, the best untrained policy on validation "
        f"scenes; --policy {trained} uses the trained policy."
    )


def _observing(found: Worth) -> str:
    gain, room = found.ours - found.lr, found.full - found.lr
    if found.measure != "tile mAP":
        return "There are no labels, so the accuracy for concepts is not known."
    if not math.isfinite(gain):
        return ""
    if math.isfinite(room) and room <= NOTHING:
        return (
            f"Observing all tiles changes the score by {signed(room)} over the overviews alone: "
            "there is nothing to gain by observing."
        )
    share = human.share(found.obr)
    if gain <= NOTHING:
        return (
            f"Observing {share} of the tiles adds nothing over the overviews alone "
            f"({signed(gain)})."
        )
    text = f"Observing {share} of the tiles scores {signed(gain)} over the overviews alone"
    return f"{text}, {human.share(gain / room)} of the gain of observing all tiles." if (
        math.isfinite(room)
    ) else f"{text}."  # fmt: skip


def _completion(found: Worth) -> str:
    if not math.isfinite(found.added):
        return ""
    text = signed(found.added)
    if found.added < -NOTHING:
        return f"Completion scores {text} against the LR fill and is no better: use the LR fill."
    if found.added <= NOTHING:
        return f"Completion adds nothing over the LR fill ({text})."
    return f"Completion scores {text} over the LR fill, a difference without an interval."


def _other(gap: Compared | None, evaluation: Mapping[str, Any]) -> str:
    """Return a better policy that needs only the overview, as a sentence; "" if there is none."""
    if gap is not None:
        trained = (evaluation.get("against_random") or {}).get("trained") or "learned"
        if gap.best in {"", trained} or gap.best_value - gap.value < CLEAR:
            return ""
        return (
            f"Tiles selected by the policy {gap.best} score higher: mean "
            f"{human.decimal(gap.best_value, 3)} against {human.decimal(gap.value, 3)}: "
            f"--policy {gap.best}."
        )
    found = evaluation.get("efficiency") or {}
    learned = number(found.get("learned"))
    others = {k: number(v) for k, v in found.items() if k not in {"learned", "design"}}
    better = {k: v for k, v in others.items() if v >= learned}
    if not math.isfinite(learned) or not better:
        return ""
    best = max(better, key=lambda name: better[name])
    return (
        f"Tiles selected by the untrained policy {best} score as high or higher: "
        f"efficiency {human.decimal(better[best])} against {human.decimal(learned)}."
    )


def _evaluated(evaluation: Mapping[str, Any]) -> str:
    return "validation tile" if evaluation.get("split") == "val" else "test tile"


def _absent(evaluation: Mapping[str, Any]) -> str:
    """Return a caution about concepts that are not part of the mAP, or always right in it."""
    shares = {name: number(one.get("prevalence"))
              for name, one in (evaluation.get("concepts") or {}).items()}  # fmt: skip
    none = [name for name, share in shares.items() if share == 0]
    every = [name for name, share in shares.items() if share == 1]
    parts, tile = [], _evaluated(evaluation)
    if none and len(none) < len(shares):
        parts.append(f"No {tile} shows {human.listed(none)}: not part of the mAP.")
    if every:
        parts.append(f"Every {tile} shows {', '.join(every)}, which counts 1 in any order.")
    return " ".join(parts)


def _doubtful(evaluation: Mapping[str, Any]) -> str:
    parts = []
    if evaluation.get("split") == "val":
        parts.append(
            "There were no test scenes: these are the validation scenes used for early stopping, "
            "so expect lower values elsewhere."
        )
    scenes = number(evaluation.get("scenes"))
    if scenes < FEW_SCENES:
        parts.append(
            f"Only {human.plural(int(scenes), 'scene was', 'scenes were')} evaluated: on other "
            "scenes small differences may have the opposite sign."
        )
    return " ".join(parts)
