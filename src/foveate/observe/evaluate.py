"""Evaluation of an observer on scenes that nothing was fitted to: the numbers of its report.

The curve over observed shares, policy by policy and with and without completion; the threshold
sweep (section C.1); what each way of completing is worth at one share; and what went wrong (section
F).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.observe import dense
from foveate.observe.calibration import drift, over
from foveate.observe.policies import SIMPLE, TRAINED, get_policy
from foveate.observe.targets import captured
from foveate.stats import holm, paired_bootstrap, verdict
from foveate.stats.measures import Measure, mean_of
from foveate.stats.measures import area as measured_area

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.observe.trial import Measures, Trial

CURVE = (0.02, 0.05, 0.12, 0.25, 0.5)  # observed shares, over which the area is taken
SWEEP = (0.0, 0.1, 0.25, 0.45, 0.55, 0.65, 0.85, 1.0)  # thresholds of section C.1
_DRAWS = 10_000  # fewer leave no small p-value after Holm
_NEIGHBOURS = 5
_ASKED = 512  # tiles of the diagnosis
_EVALUATED = (
    "random", "uniform", "lr-entropy", "learned", "design", "oracle-gain", "oracle-greedy",
)  # fmt: skip


def evaluate(trial: Trial, *, obr: float, supervision: str) -> dict[str, Any]:
    """Measure an observer on scenes that nothing was fitted to; JSON-ready.

    Args:
        trial: The observer and the scenes.
        obr: Observed share at which completions are compared.
        supervision: Target of its sampler, for the record.
    """
    evidence = trial.evidence()
    policies = [name for name in _EVALUATED if set(get_policy(name).needs) <= set(evidence)]
    curves, _ = curve(trial, policies, evidence)
    observed = trial.observed(obr)
    at_random = trial.first(trial.rank("random", evidence), obr)
    completed = completions(trial, observed)
    concepts = trial.material.concepts
    return {
        "split": str(trial.material.split[trial.scenes[0]]),
        "scenes": len(trial.scenes),
        "tiles": len(trial.rows),
        "obr": obr,
        "supervision": supervision,
        "curve": curves,
        "efficiency": {
            name: efficiency(curves, name)
            for name in policies
            if "oracle-gain" in policies and not name.startswith(("oracle", "random"))
        },
        "completions": {name: found.means() for name, found in completed.items()},
        "random": trial.measure(trial.completed(at_random, "ours"), at_random).means(),
        "concepts": {
            concept.name: {
                "prevalence": None if trial.known is None else trial.known[:, k].mean(),
                "novel": concept.novel,
                **{name: found.tiles[k] for name, found in completed.items()},
            }
            for k, concept in enumerate(concepts)
        },
        "sweep": sweep(trial),
        "neighbours": neighbours(trial, observed),
        "failures": failures(trial, observed),
    }


def curve(
    trial: Trial, policies: Sequence[str], evidence: Mapping[str, Any], *, draws: int = 5
) -> tuple[dict[str, Any], dict[str, Measure]]:
    """Return how good tiles are known over observed shares.

    Args:
        trial: Where.
        policies: Names; "random" is the mean over several draws.
        evidence: What they choose by.
        draws: Of "random".

    Returns:
        "shares", "measure" (tile mAP, or centred cosine where there are no labels), and "policies":
        name -> {"fill": [...], "ours": [...], "captured": [...]}; and what `against_random`
        compares: name -> the area under "ours", with the share of each group of scenes in it.
    """
    found: dict[str, Any] = {}
    areas: dict[str, Measure] = {}
    for policy in policies:
        seeds = range(draws) if policy == "random" else range(1)
        runs = [_one_curve(trial, policy, evidence, seed) for seed in seeds]
        lines = [
            {k: [m.value if isinstance(m, Measure) else m for m in v] for k, v in run.items()}
            for run in runs
        ]
        found[policy] = {key: np.mean([r[key] for r in lines], axis=0).tolist() for key in lines[0]}
        areas[policy] = mean_of([measured_area(run["ours"], CURVE) for run in runs])
    measure = "tile mAP" if trial.material.labels is not None else "centred cosine"
    return {"shares": list(CURVE), "measure": measure, "policies": found}, areas


def choose_policy(validation: Trial, judged: Trial, *, seed: int = 0) -> dict[str, Any]:
    """Compare policies with random tiles, and say which one a selection is to use.

    Of the trained policies that are better than random tiles (`foveate.stats.verdict`) on all
    scenes that no network was fitted to, the one is used that does best on the validation scenes.
    Where there is none, it is that of the policies which learn nothing: it is not shown to be
    better than the others, only no worse a guess.

    Args:
        validation: The observer and the validation scenes.
        judged: The observer, and validation and test scenes together.
        seed: Of the bootstrap.

    Returns:
        What `against_random` does; "scenes" of it; "policy" to use, "trained" the one of the
        trained policies that is used or would be, "validation" (policy -> area on the validation
        scenes).
    """
    areas = []
    for trial in (validation, judged):
        evidence = trial.evidence()
        names = [name for name in (*SIMPLE, *TRAINED) if set(get_policy(name).needs) <= {*evidence}]
        areas.append(curve(trial, names, evidence)[1])
    on_validation = {name: measure.value for name, measure in areas[0].items()}
    compared = against_random(areas[1], seed=seed)

    def ordered(among: Sequence[str]) -> list[str]:
        return sorted(set(among) & on_validation.keys(), key=lambda n: (-on_validation[n], n))

    better = [n for n in ordered(TRAINED) if compared["policies"][n]["verdict"] == "better"]
    return {
        **compared,
        "scenes": len(judged.scenes),
        "policy": (better or ordered(SIMPLE))[0],
        "trained": (better or ordered(TRAINED))[0],
        "validation": on_validation,
    }


def against_random(areas: Mapping[str, Measure], *, seed: int = 0) -> dict[str, Any]:
    """Compare policies with random tiles on scenes that nothing was fitted to.

    Args:
        areas: Policy -> area under its curve with completion; see `curve`. Oracles are left out:
            nobody can choose by them.
        seed: Of the bootstrap.

    Returns:
        "groups": of the scenes, which the bootstrap draws; "random": its area; "policies": name ->
        "area", "difference" to random (mean, low and high of the 95 % interval; None where all
        scenes are one group), "p" (Holm's, over these policies) and "verdict": "better", "worse",
        "tied" or "open", see `foveate.stats.verdict`, or None without a difference.
    """
    base = areas["random"]
    names = sorted(base.groups)
    compared = [name for name in areas if not name.startswith(("oracle", "random"))]
    found: dict[str, Any] = {
        name: {"area": areas[name].value, "difference": None, "p": None, "verdict": None}
        for name in compared
    }
    if len(names) > 1:
        gaps = [
            paired_bootstrap(
                [areas[name].groups[g] for g in names], [base.groups[g] for g in names],
                draws=_DRAWS, seed=seed,
            )
            for name in compared
        ]  # fmt: skip
        for name, gap, p in zip(compared, gaps, holm([g.p for g in gaps]).tolist(), strict=True):
            found[name] |= {
                "difference": {"mean": gap.mean, "low": gap.low, "high": gap.high},
                "p": p, "verdict": verdict(gap, p, len(names)),
            }  # fmt: skip
    return {"groups": len(names), "random": base.value, "policies": found}


def area(values: Sequence[float]) -> float:
    """Return the mean height of a curve over `CURVE`."""
    return float(np.trapezoid(values, CURVE) / (CURVE[-1] - CURVE[0]))


def efficiency(found: Mapping[str, Any], policy: str, *, oracle: str = "oracle-gain") -> float:
    """Return the normalised efficiency of a policy: (policy - random) / (oracle - random).

    Of the areas under the curves with completion; NaN where the oracle is no better than random.
    """
    own, low, high = (area(found["policies"][name]["ours"]) for name in (policy, "random", oracle))
    return (own - low) / (high - low) if high > low else float("nan")


def sweep(trial: Trial) -> list[dict[str, Any]]:
    """Return what each threshold of the paper's figure buys, on the observer's own scale."""
    scores = trial.observer.scores(trial.lr).score
    rows = []
    for tau in SWEEP:
        seen = over(scores, tau) & trial.here
        obr = float(seen.sum() / trial.here.sum())
        tokens = trial.completed(seen, "ours")
        expected = 1 - tau
        row = {"tau": tau, "obr": obr, "expected": expected, "drift": None}
        if 0 < expected < 1:
            row["drift"] = drift(obr, expected)
        rows.append({**row, **trial.measure(tokens, seen).means()})
    return rows


def completions(trial: Trial, seen: NDArray[np.bool_]) -> dict[str, Measures]:
    """Return how good scenes are under each way of completing the same observed tiles."""
    nothing, everything = np.zeros_like(seen), trial.here
    found = {
        how: trial.measure(trial.completed(seen, how), seen)
        for how in ("none", "nearest", "fill", "ours")
    }
    found["LR only"] = trial.measure(trial.completed(nothing, "fill"), nothing)
    found["full"] = trial.measure(trial.completed(everything, "full"), everything)
    return found


def captures(
    trial: Trial, policies: Sequence[str], evidence: Mapping[str, Any], share: float
) -> dict[str, float]:
    """Return the share of the true gain that each policy captures."""
    gain = trial.truth["gain"]
    found = {}
    for policy in policies:
        seen = trial.first(trial.rank(policy, evidence), share)
        found[policy] = captured(gain, dense.from_grids(seen, trial.place))
    return found


def neighbours(trial: Trial, seen: NDArray[np.bool_]) -> dict[str, float]:
    """Return how well completed tiles find tiles of their kind in training (section B).

    A completed token that drifts finds neighbours which look right and mean something else. The
    agreement is the Jaccard index of the concepts of a tile and of its nearest training tiles, by
    centred cosine, over unobserved tiles that show a concept.

    Args:
        trial: Where.
        seen: (m, R, C) bool: observed.

    Returns:
        Completion -> mean agreement; "true" is that of the true HR tokens. Empty without labels.
    """
    found = {}
    for name, how in (("HR only", "nearest"), ("fill", "fill"), ("ours", "ours"), ("true", "full")):
        value = agreement(trial, trial.completed(seen, how), seen)
        if value is not None:
            found[name] = value
    return found


def agreement(trial: Trial, tokens: NDArray[np.floating], seen: NDArray[np.bool_]) -> float | None:
    """Return the mean agreement of unobserved tiles with their neighbours; see `neighbours`.

    Args:
        trial: Where.
        tokens: (m, R * k, C * k, d) completed tokens.
        seen: (m, R, C) bool: observed.

    Returns:
        0 to 1; None without labels, or where no unobserved tile shows a concept.
    """
    material = trial.material
    if material.known is None or trial.known is None:
        return None
    unseen = dense.from_grids(~seen, trial.place) & trial.known.any(axis=1)
    asked = np.flatnonzero(unseen)
    if not asked.size:
        return None
    asked = asked[:: max(1, asked.size // _ASKED)]
    train = material.tiles(material.scenes("train"))
    gallery, shown = _unit(material.means(train)), material.known[train]
    alike = _unit(trial.tile_means(tokens)[asked]) @ gallery.T
    near = np.argsort(alike.max() - alike, axis=1, kind="stable")[:, :_NEIGHBOURS]
    own, other = trial.known[asked][:, None], shown[near]
    both, either = (own & other).sum(-1), (own | other).sum(-1)
    return float((both / np.maximum(either, 1)).mean())


def failures(trial: Trial, seen: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return one tile or scene for each way of failing (section F), the worst there is.

    "missed": the unobserved tile whose true gain is highest. "drift": the unobserved tile that
    completion has moved furthest from the truth, compared with the fill. "complex": the scene that
    is furthest from the truth for what was observed of it.
    """
    tokens, fill = trial.completed(seen, "ours"), trial.completed(seen, "fill")
    side = trial.material.shape.hr_side
    error = np.square(dense.to_tiles(tokens - trial.hr, side)).mean(axis=(3, 4))
    before = np.square(dense.to_tiles(fill - trial.hr, side)).mean(axis=(3, 4))
    open_ = trial.here & ~seen
    found: list[dict[str, Any]] = []
    if trial.truth:
        gain = dense.to_grids(trial.truth["gain"], trial.place, trial.here.shape)
        found.append(_worst(trial, "missed", np.where(open_, gain, -np.inf)))
    found.append(_worst(trial, "drift", np.where(open_, error - before, -np.inf)))
    mean = np.where(open_, error, 0).sum(axis=(1, 2)) / np.maximum(1, open_.sum(axis=(1, 2)))
    scene = int(mean.argmax())
    names = trial.material.pairs.pool.scenes
    found.append({
        "kind": "complex", "scene": names[trial.scenes[scene]].scene_id, "row": None, "col": None,
        "value": float(mean[scene]),
    })  # fmt: skip
    return [case for case in found if math.isfinite(case["value"])]


def _worst(trial: Trial, kind: str, values: NDArray[np.floating]) -> dict[str, Any]:
    scene, row, col = (int(i) for i in np.unravel_index(values.argmax(), values.shape))
    name = trial.material.pairs.pool.scenes[trial.scenes[scene]].scene_id
    return {
        "kind": kind, "scene": name, "row": row, "col": col,
        "value": float(values[scene, row, col]),
    }  # fmt: skip


def _one_curve(
    trial: Trial, policy: str, evidence: Mapping[str, Any], seed: int
) -> dict[str, list[Any]]:
    ranking = trial.rank(policy, evidence, seed=seed)
    found: dict[str, list[Any]] = {"fill": [], "ours": []}
    if trial.truth:
        found["captured"] = []
    for share in CURVE:
        seen = trial.first(ranking, share)
        for how in ("fill", "ours"):
            tokens = trial.completed(seen, how)
            found[how].append(trial.quality(tokens, seen, by_group=how == "ours"))
        if trial.truth:
            chosen = dense.from_grids(seen, trial.place)
            found["captured"].append(captured(trial.truth["gain"], chosen))
    return found


def _unit(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
