"""What the figures of an observer mean, in sentences that rules choose.

The evaluation gives means without intervals, so bounds are stated here once: a difference under
`NOTHING` is none, one under `LITTLE` is little. All sentences follow from the figures: a bad
observer gets a page that says so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import human
from foveate.report.stage import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOTHING, LITTLE = 0.005, 0.02  # of a precision or a cosine
FEW_SCENES = 8  # judged; below, another draw may turn an order
FEW_TILES = 20  # that show a concept; below, its precision hangs on a few of them
OFF = 0.2  # relative drift above which a threshold does not carry over


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
        lead: What the sampler gains over random tiles. A cosine is of the tiles that were not
            observed, and these are others, so there it is that of the curves, which count all.
    """

    measure: str
    obr: float
    ours: float
    fill: float
    lr: float
    chance: float
    full: float
    lead: float

    @property
    def added(self) -> float:
        """What completion adds over the LR fill."""
        return self.ours - self.fill


def worth(evaluation: Mapping[str, Any]) -> Worth:
    """Return the few figures that the page opens with."""
    ways = evaluation.get("completions") or {}
    measure = str((evaluation.get("curve") or {}).get("measure", "tile mAP"))
    key = "tiles" if measure == "tile mAP" else "cosine"

    def of(entry: object) -> float:
        return number(entry.get(key)) if isinstance(entry, dict) else math.nan

    ours, fill, lr = (of(ways.get(name)) for name in ("ours", "fill", "LR only"))
    full = of(ways.get("full"))
    obr, chance = number(evaluation.get("obr")), of(evaluation.get("random"))
    lead = ours - chance
    if key == "cosine":
        chance, lead = math.nan, _lead(evaluation, obr)
    return Worth(measure, obr, ours, fill, lr, chance, full, lead)


def _lead(evaluation: Mapping[str, Any], obr: float) -> float:
    """Return how far the learned curve lies above the random one, at the nearest share."""
    curve = evaluation.get("curve") or {}
    try:
        own, chance = (curve["policies"][name]["ours"] for name in ("learned", "random"))
        at = min(range(len(own)), key=lambda i: abs(curve["shares"][i] - obr))
        return number(own[at]) - number(chance[at])
    except (KeyError, IndexError, ValueError):
        return math.nan


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign."""
    text = human.decimal(value, digits)
    return (
        f"+{text}" if math.isfinite(value) and value > 0 and float(f"{value:.{digits}f}") else text
    )


def headline(found: Worth) -> str:
    """Return the page's first line."""
    share, at = human.share(found.obr), human.decimal(found.ours)
    if found.measure != "tile mAP":
        return f"With {share} of the tiles observed, a centred cosine of {at} where nothing was"
    ends = [
        f"{human.decimal(value)} from {what}"
        for value, what in ((found.lr, "overviews alone"), (found.full, "everything"))
        if math.isfinite(value)
    ]
    text = f"With {share} of the tiles observed, {found.measure} {at}"
    return f"{text}: {', '.join(ends)}" if ends else text


def verdicts(found: Worth, evaluation: Mapping[str, Any]) -> list[str]:
    """Return what the figures say, the most important first."""
    return [
        text
        for text in (
            _observing(found), _sampler(found), _completion(found), _simple(evaluation),
            _doubtful(evaluation),
        )
        if text
    ]  # fmt: skip


def _observing(found: Worth) -> str:
    gain, room = found.ours - found.lr, found.full - found.lr
    if found.measure != "tile mAP" or not math.isfinite(gain):
        return "There are no labels, so nothing is known of what the tokens tell."
    if math.isfinite(room) and room <= NOTHING:
        return (
            f"High resolution itself adds nothing here ({signed(room)} over the overviews): "
            "there is nothing to gain by observing."
        )
    if gain <= NOTHING:
        return (
            f"Observing {human.share(found.obr)} of the tiles adds nothing over the overviews "
            f"alone ({signed(gain)})."
        )
    text = f"Observing {human.share(found.obr)} of the tiles adds {signed(gain)}"
    return f"{text}, {human.share(gain / room)} of what observing everything would." if (
        math.isfinite(room)
    ) else f"{text}."  # fmt: skip


def _sampler(found: Worth) -> str:
    gain = found.lead
    if not math.isfinite(gain):
        return ""
    if gain < -NOTHING:
        return f"The sampler is worse than random tiles ({signed(gain)}): do not choose by it."
    if gain <= NOTHING:
        return f"The sampler is no better than random tiles ({signed(gain)})."
    size = "a little better" if gain <= LITTLE else "better"
    return f"The sampler is {size} than random tiles ({signed(gain)})."


def _completion(found: Worth) -> str:
    if not math.isfinite(found.added):
        return ""
    text = signed(found.added)
    if found.added < -NOTHING:
        return f"Completion makes scenes worse than the LR fill ({text}): use the fill."
    if found.added <= NOTHING:
        return f"Completion adds nothing over the LR fill ({text})."
    size = "adds little" if found.added <= LITTLE else "adds"
    return f"Completion {size} over the LR fill ({text})."


def _simple(evaluation: Mapping[str, Any]) -> str:
    """Name a simple policy that does as well."""
    found = evaluation.get("efficiency") or {}
    own = number(found.get("learned"))
    others = {k: number(v) for k, v in found.items() if k not in {"learned", "design"}}
    better = {k: v for k, v in others.items() if v >= own}
    if not math.isfinite(own) or not better:
        return ""
    best = max(better, key=lambda name: better[name])
    return (
        f"Over all shares the policy {best}, which learns nothing, does as well or better: "
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


def maps(rho: float) -> str:
    """Say how well the predicted order of tiles agrees with the true one (Spearman's rho)."""
    if not math.isfinite(rho):
        return "The true worth of the tiles is not known."
    how = next(
        text for bound, text in
        ((0.6, "well"), (0.3, "fairly"), (0.1, "weakly"), (-math.inf, "hardly or not at all"))
        if rho >= bound
    )  # fmt: skip
    text = f"Over these tiles the predicted order agrees {how} with the true one"
    return f"{text}: Spearman\u2019s \u03c1 = {human.decimal(rho)}."


def features(evaluation: Mapping[str, Any]) -> str:
    """Say how close completed tokens are to true ones."""
    ways = evaluation.get("completions") or {}
    ours, fill = (number((ways.get(name) or {}).get("cosine")) for name in ("ours", "fill"))
    if not math.isfinite(ours) or not math.isfinite(fill):
        return ""
    text = "Where nothing was observed, the centred cosine with the true tokens is "
    text += f"{human.decimal(ours, 3)}, {human.decimal(fill, 3)} by the LR fill"
    if abs(ours - fill) <= NOTHING:
        return f"{text}: the two look alike because they nearly are."
    return f"{text}: completion is {'closer' if ours > fill else 'further off'}."


def budget(evaluation: Mapping[str, Any]) -> str:
    """Say at how many shares the sampler beats chance, and what it makes of the possible."""
    found = (evaluation.get("curve") or {}).get("policies") or {}
    try:
        own, chance = found["learned"]["ours"], found["random"]["ours"]
    except KeyError:
        return ""
    above = sum(number(a) > number(b) for a, b in zip(own, chance, strict=True))
    text = f"Learned tiles beat random ones at {above} of {human.plural(len(own), 'share')}"
    value = number((evaluation.get("efficiency") or {}).get("learned"))
    if math.isfinite(value):
        text += f" and make {human.share(value) if value > 0 else 'nothing'} of what knowing the "
        text += "true gain would make"
    return f"{text}."


def sweep(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say whether thresholds keep what they promise."""
    drifts = {number(r.get("tau")): abs(number(r.get("drift"))) for r in rows}
    drifts = {tau: d for tau, d in drifts.items() if math.isfinite(d)}
    if not drifts:
        return ""
    tau = max(drifts, key=lambda t: drifts[t])
    text = f"The realised share is off by {human.share(drifts[tau])} of the expected one at most "
    text += f"(\u03c4 = {tau:g})"
    if drifts[tau] > OFF:
        return f"{text}: thresholds do not carry over to these scenes; choose by a budget instead."
    return f"{text}: thresholds keep what they promise."


def scenes(ways: Mapping[str, Any]) -> str:
    """Warn of scenes that are pooled, with the example that these figures give."""
    warning = "Pooled scene retrieval hides bad tiles: judge by tiles."
    ours, none = (number((ways.get(k) or {}).get("scenes_mean")) for k in ("ours", "none"))
    if none >= ours - NOTHING:
        return (
            f"{warning} Here scenes that know nothing of unobserved tiles reach "
            f"{human.decimal(none, 3)} by their mean, completed ones {human.decimal(ours, 3)}."
        )
    return warning


def neighbours(found: Mapping[str, Any]) -> str:
    """Say whether completed tiles find tiles of their own kind."""
    ours, fill, true = (number(found.get(name)) for name in ("ours", "fill", "true"))
    if not math.isfinite(ours) or not math.isfinite(fill):
        return "There are no labels, so neighbours cannot be judged."
    if ours < fill - NOTHING:
        return (
            "Completed tiles find neighbours of another kind more often than the LR fill does: "
            "completion drifts in meaning."
        )
    if true - ours <= NOTHING:
        return "Completed tiles find neighbours of their kind as well as the true ones do."
    how = "as well as" if ours - fill <= NOTHING else "better than"
    return f"Completed tiles find neighbours of their kind {how} filled ones, worse than true ones."
