"""What the figures of an observer mean, in sentences that rules choose.

What the page opens with is in `foveate.report.words.observer`. The figures here are means without
intervals: sentences state them, and take a difference under `NOTHING` for none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from foveate.report import human
from foveate.report.stage import number
from foveate.report.words.observer import NOTHING
from foveate.report.words.scenes import OFF

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FEW_TILES = 20  # that show a concept; below, its precision hangs on a few of them


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
    text = f"Learned tiles score higher than random ones at {above} of "
    text += human.plural(len(own), "share")
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
        return "Completed tiles find neighbours of their kind as often as the true ones do."
    how = "as often as" if ours - fill <= NOTHING else "more often than"
    text = f"Completed tiles find neighbours of their kind {how} filled ones, "
    return f"{text}less often than true ones."
