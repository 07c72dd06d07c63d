"""What a trained observer is worth against random tiles, overviews alone, and the LR fill.

The difference from random tiles has an interval over groups of held-out scenes; the others have
none, so of them only the figures are stated.
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

NOTHING = 0.005  # of a precision or a cosine: less is none
FEW_SCENES = 8  # judged; below, another draw may turn an order
CLEAR = 0.01  # of the mean height of a curve: less is not worth naming another policy


class Worth(NamedTuple):
    """What an observer is worth at the share that it was trained for; NaN where not known.

    Attributes:
        measure: "tile mAP" or "centred cosine".
        obr: Observed share of the tiles.
        ours: Completed scenes.
        fill: The same tiles, the rest filled from the overview alone.
        lr: Overviews alone, nothing observed.
        chance: Completed scenes from tiles observed at random.
        full: Everything observed.
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
        """What completion adds over the LR fill."""
        return self.ours - self.fill


class Compared(NamedTuple):
    """A policy against random tiles on held-out scenes.

    Attributes:
        measure: "tile mAP" or "centred cosine".
        value: Its mean over the observed shares.
        random: That of random tiles.
        low: Lower end of the 95 % interval of the difference; NaN where there is none.
        high: Upper end.
        verdict: "better", "worse", "tied", "open"; "" without an interval.
        groups: Groups of scenes that the interval draws.
        best: Of the policies that are better than random tiles the one of the highest value.
        best_value: Its value.
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
    """Return the few figures that the page of an observer opens with."""
    ways = evaluation.get("completions") or {}
    measure = str((evaluation.get("curve") or {}).get("measure", "tile mAP"))
    key = "tiles" if measure == "tile mAP" else "cosine"

    def of(entry: object) -> float:
        return number(entry.get(key)) if isinstance(entry, dict) else math.nan

    ours, fill, lr = (of(ways.get(name)) for name in ("ours", "fill", "LR only"))
    # A cosine is of the tiles that were not observed, and at random these are others.
    chance = of(evaluation.get("random")) if key == "tiles" else math.nan
    return Worth(measure, number(evaluation.get("obr")), ours, fill, lr, chance,
                 of(ways.get("full")))  # fmt: skip


def compared(evaluation: Mapping[str, Any]) -> Compared | None:
    """Return how the trained policy did against random tiles; None where not compared."""
    against = evaluation.get("against_random") or {}
    policies = against.get("policies") or {}
    own = policies.get(str(against.get("trained") or "learned"))
    if not isinstance(own, dict):
        return None
    measure = str((evaluation.get("curve") or {}).get("measure", "tile mAP"))
    better = {name: one for name, one in policies.items() if one.get("verdict") == "better"}
    areas = {name: number(one.get("area")) for name, one in better.items()}
    areas = {name: value for name, value in areas.items() if math.isfinite(value)}
    best = max(areas, key=lambda name: areas[name], default="")
    gap = own.get("difference") or {}
    return Compared(
        measure, number(own.get("area")), number(against.get("random")), number(gap.get("low")),
        number(gap.get("high")), str(own.get("verdict") or ""), int(against.get("groups") or 0),
        best, areas.get(best, math.nan),
    )  # fmt: skip


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign."""
    text = human.decimal(value, digits)
    return (
        f"+{text}" if math.isfinite(value) and value > 0 and float(f"{value:.{digits}f}") else text
    )


def trained(evaluation: Mapping[str, Any]) -> Headline:
    """Say what an observer is worth on the scenes that judge it."""
    found, gap = worth(evaluation), compared(evaluation)
    share = human.share(found.obr)
    if found.measure == "tile mAP":
        text = f"With {share} of the tiles observed, tile mAP {human.decimal(found.ours)}"
        ends = [
            f"{human.decimal(value)} from {what}"
            for value, what in ((found.lr, "overviews alone"), (found.full, "all tiles"))
            if math.isfinite(value)
        ]
        text += f" ({', '.join(ends)})" if ends else ""
    else:
        text = f"With {share} of the tiles observed, a centred cosine of "
        text += f"{human.decimal(found.ours)} where nothing was"
    if found.full - found.lr <= NOTHING:
        text += "; high resolution itself adds nothing here"
    else:
        text += f"; {_against_random(gap)}"
    notes = (_observing(found), _figures(gap), _used(evaluation), _completion(found),
             _other(gap, evaluation), _doubtful(evaluation))  # fmt: skip
    return Headline(text, tuple(note for note in notes if note))


def against_random(gap: Compared | None) -> str:
    """Say how a policy did against random tiles, after "this choice"."""
    if gap is None or not gap.verdict:
        return "was not tested against random tiles"
    if gap.verdict == "better":
        return "did better than random tiles"
    if gap.verdict == "worse":
        return "did worse than random tiles"
    return "did no better than random tiles" if gap.verdict == "tied" else (
        "did not surely do better than random tiles"
    )  # fmt: skip


def _against_random(gap: Compared | None) -> str:
    if gap is None or not gap.verdict:
        return "whether its choice beats random tiles was not tested"
    return {
        "better": "its choice of tiles beats random ones",
        "worse": "random tiles do better than its choice",
        "tied": "random tiles do as well",
    }.get(gap.verdict, "whether its choice beats random tiles is not settled")


def figures(gap: Compared | None) -> str:
    """Return the figures of a comparison with random tiles, "" where there are none."""
    if gap is None or not math.isfinite(gap.value):
        return ""
    text = f"over the observed shares, mean {gap.measure} {human.decimal(gap.value, 3)}, random "
    text += f"tiles {human.decimal(gap.random, 3)}"
    if not math.isfinite(gap.low):
        return f"{text}; all scenes are one group, so the difference has no interval"
    text += f"; difference {signed(gap.value - gap.random)}, 95{human.GAP}% interval "
    text += f"{signed(gap.low)} to {signed(gap.high)} over {human.plural(gap.groups, 'group')}"
    text += " of scenes"
    if gap.verdict != "open":
        return text
    if gap.groups < FEWEST:
        return f"{text}, which are too few to be sure"
    return f"{text}, not sure after Holm\u2019s correction for the number of policies"


def _figures(gap: Compared | None) -> str:
    text = figures(gap)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _used(evaluation: Mapping[str, Any]) -> str:
    """Say which policy a selection takes, where that is not the learned one."""
    against = evaluation.get("against_random") or {}
    used, trained = str(against.get("policy") or "learned"), against.get("trained")
    if used == "learned":
        return ""
    if used == trained:
        return f"A selection takes tiles by the policy {used}, which did best on validation scenes."
    return (
        f"So a selection takes tiles by the policy {used} instead, of those that learn nothing the "
        f"one that did best on validation scenes; --policy {trained} takes them as trained."
    )


def _observing(found: Worth) -> str:
    gain, room = found.ours - found.lr, found.full - found.lr
    if found.measure != "tile mAP" or not math.isfinite(gain):
        return "There are no labels, so nothing is known of what the tokens tell."
    if math.isfinite(room) and room <= NOTHING:
        return (
            f"Observing everything scores {signed(room)} over the overviews alone: there is "
            "nothing to gain by observing."
        )
    share = human.share(found.obr)
    if gain <= NOTHING:
        return (
            f"Observing {share} of the tiles adds nothing over the overviews alone "
            f"({signed(gain)})."
        )
    text = f"Observing {share} of the tiles scores {signed(gain)} over the overviews alone"
    return f"{text}, {human.share(gain / room)} of what observing everything would." if (
        math.isfinite(room)
    ) else f"{text}."  # fmt: skip


def _completion(found: Worth) -> str:
    if not math.isfinite(found.added):
        return ""
    text = signed(found.added)
    if found.added < -NOTHING:
        return f"Completion scores {text} over the LR fill, no better than it: use the fill."
    if found.added <= NOTHING:
        return f"Completion adds nothing over the LR fill ({text})."
    return f"Completion scores {text} over the LR fill, a difference without an interval."


def _other(gap: Compared | None, evaluation: Mapping[str, Any]) -> str:
    """Name a policy that scores higher, and needs no more than the overview."""
    if gap is not None:
        trained = (evaluation.get("against_random") or {}).get("trained") or "learned"
        if gap.best in {"", trained} or gap.best_value - gap.value < CLEAR:
            return ""
        return (
            f"Tiles chosen by the policy {gap.best} score higher: mean "
            f"{human.decimal(gap.best_value, 3)} against {human.decimal(gap.value, 3)}: "
            f"--policy {gap.best}."
        )
    found = evaluation.get("efficiency") or {}
    own = number(found.get("learned"))
    others = {k: number(v) for k, v in found.items() if k not in {"learned", "design"}}
    better = {k: v for k, v in others.items() if v >= own}
    if not math.isfinite(own) or not better:
        return ""
    best = max(better, key=lambda name: better[name])
    return (
        f"Tiles chosen by the policy {best}, which learns nothing, score as high or higher: "
        f"efficiency {human.decimal(better[best])} against {human.decimal(own)}."
    )


def _doubtful(evaluation: Mapping[str, Any]) -> str:
    parts = []
    if evaluation.get("split") == "val":
        parts.append(
            "There were no test scenes: these are the validation scenes, by which training was "
            "stopped, so expect less elsewhere."
        )
    scenes = number(evaluation.get("scenes"))
    if scenes < FEW_SCENES:
        parts.append(
            f"Only {human.plural(int(scenes), 'scene was', 'scenes were')} judged: others may "
            "turn small differences around."
        )
    return " ".join(parts)
