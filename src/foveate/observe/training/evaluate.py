"""Evaluation of an observer on held-out scenes: the results of its report.

Curves over observed ratios, for each policy with and without completion; the threshold sweep
(section C.1); a comparison of completions at one ratio; and failure cases (section F).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.observe import dense
from foveate.observe.scoring.calibration import drift, over
from foveate.observe.scoring.policies import SIMPLE, TRAINED, get_policy
from foveate.observe.scoring.targets import captured
from foveate.stats import holm, paired_bootstrap, verdict
from foveate.stats.measures import Measure, mean_of
from foveate.stats.measures import area as measured_area

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.observe.training.trial import Measures, Trial

CURVE = (0.02, 0.05, 0.12, 0.25, 0.5)  # observed ratios of curves and of the area under them
SWEEP = (0.0, 0.1, 0.25, 0.45, 0.55, 0.65, 0.85, 1.0)  # thresholds of section C.1
_DRAWS = 10_000  # bootstrap draws; with fewer, p-values after Holm's correction cannot be small
_NEIGHBOURS = 5
_MAX_QUERIES = 512  # tiles of the neighbour agreement
_EVALUATED = (
    "random", "uniform", "lr-entropy", "learned", "design", "oracle-gain", "oracle-greedy",
)  # fmt: skip


def evaluate(trial: Trial, *, obr: float, supervision: str) -> dict[str, Any]:
    """Evaluate an observer on held-out scenes; the result is JSON-ready.

    Args:
        trial: The observer and the scenes.
        obr: Observed ratio at which completions are compared.
        supervision: Supervision target of the sampler, stored in the result.
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
        "completions": {name: measures.means() for name, measures in completed.items()},
        "random": trial.measure(trial.completed(at_random, "ours"), at_random).means(),
        "concepts": {
            concept.name: {
                "prevalence": None if trial.known is None else trial.known[:, k].mean(),
                "novel": concept.novel,
                **{name: measures.tiles[k] for name, measures in completed.items()},
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
    """Return the quality of completed tiles over observed ratios, for each policy.

    Args:
        trial: The observer and the scenes.
        policies: Names; "random" is the mean over several draws.
        evidence: Evidence of the policies.
        draws: Number of draws of "random".

    Returns:
        "shares", "measure" (tile mAP, or centred cosine without labels), and "policies": name ->
        {"fill": [...], "ours": [...], "captured": [...]}; and the input of `against_random`: name
        -> the area under "ours", with the contribution of each group of scenes.
    """
    curves: dict[str, Any] = {}
    areas: dict[str, Measure] = {}
    for policy in policies:
        seeds = range(draws) if policy == "random" else range(1)
        runs = [_one_curve(trial, policy, evidence, seed) for seed in seeds]
        lines = [
            {k: [m.value if isinstance(m, Measure) else m for m in v] for k, v in run.items()}
            for run in runs
        ]
        curves[policy] = {
            key: np.mean([line[key] for line in lines], axis=0).tolist() for key in lines[0]
        }
        areas[policy] = mean_of([measured_area(run["ours"], CURVE) for run in runs])
    measure = "tile mAP" if trial.material.labels is not None else "centred cosine"
    return {"shares": list(CURVE), "measure": measure, "policies": curves}, areas


def choose_policy(validation: Trial, judged: Trial, *, seed: int = 0) -> dict[str, Any]:
    """Compare policies with random tiles, and choose the default policy of selections.

    Among the trained policies that are better than random tiles (`foveate.stats.verdict`) on all
    held-out scenes, the policy that is best on the validation scenes is chosen. If there is none,
    the untrained baseline that is best on the validation scenes is chosen, without evidence that it
    is better than the other baselines. If the measure is not known there, as no validation scene
    shows a concept, it is "random".

    Args:
        validation: The observer and the validation scenes.
        judged: The observer, and validation and test scenes together.
        seed: Seed of the bootstrap.

    Returns:
        The result of `against_random`; the number of its "scenes"; the chosen "policy"; "trained",
        the best of the trained policies; "validation" (policy -> area on the validation scenes).
    """
    areas = []
    for trial in (validation, judged):
        evidence = trial.evidence()
        names = [name for name in (*SIMPLE, *TRAINED) if set(get_policy(name).needs) <= {*evidence}]
        areas.append(curve(trial, names, evidence)[1])
    on_validation = {name: measure.value for name, measure in areas[0].items()}
    compared = against_random(areas[1], seed=seed)

    def ordered(among: Sequence[str]) -> list[str]:
        # NaN, where nothing can be measured, is last; equal values are in the order of `among`.
        known = [name for name in among if name in on_validation]
        return sorted(known, key=lambda n: -np.nan_to_num(on_validation[n], nan=-np.inf))

    better = [n for n in ordered(TRAINED) if compared["policies"][n]["verdict"] == "better"]
    return {
        **compared,
        "scenes": len(judged.scenes),
        "policy": (better or ordered(SIMPLE))[0],
        "trained": (better or ordered(TRAINED))[0],
        "validation": on_validation,
    }


def against_random(areas: Mapping[str, Measure], *, seed: int = 0) -> dict[str, Any]:
    """Compare policies with random tiles on held-out scenes.

    Args:
        areas: Policy -> area under its curve with completion; see `curve`. Oracles are ignored,
            since they cannot be used for selection.
        seed: Seed of the bootstrap.

    Returns:
        "groups": number of groups of scenes, the unit of the bootstrap; "random": area of random
        tiles; "policies": name -> "area", "difference" to random (mean, low and high of the 95 %
        interval; None if all scenes are in one group), "p" (with Holm's correction over these
        policies) and "verdict": "better", "worse", "tied" or "open", see `foveate.stats.verdict`,
        or None without a difference.
    """
    base = areas["random"]
    names = sorted(base.groups)
    compared = [name for name in areas if not name.startswith(("oracle", "random"))]
    results: dict[str, Any] = {
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
            results[name] |= {
                "difference": {"mean": gap.mean, "low": gap.low, "high": gap.high},
                "p": p, "verdict": verdict(gap, p, len(names)),
            }  # fmt: skip
    return {"groups": len(names), "random": base.value, "policies": results}


def area(values: Sequence[float]) -> float:
    """Return the normalised area under a curve over `CURVE`."""
    return float(np.trapezoid(values, CURVE) / (CURVE[-1] - CURVE[0]))


def efficiency(found: Mapping[str, Any], policy: str) -> float:
    """Return the normalised efficiency of a policy: (policy - random) / (oracle - random).

    Computed from the areas under the curves with completion; NaN if the oracle is not better than
    random.
    """
    value, low, high = (
        area(found["policies"][name]["ours"]) for name in (policy, "random", "oracle-gain")
    )
    return (value - low) / (high - low) if high > low else float("nan")


def sweep(trial: Trial) -> list[dict[str, Any]]:
    """Return the results of each threshold of section C.1, on the calibrated scores."""
    scores = trial.observer.scores(trial.lr).score
    rows = []
    for tau in SWEEP:
        seen = over(scores, tau) & trial.valid
        obr = float(seen.sum() / trial.valid.sum())
        tokens = trial.completed(seen, "ours")
        expected = 1 - tau
        row = {"tau": tau, "obr": obr, "expected": expected, "drift": None}
        if 0 < expected < 1:
            row["drift"] = drift(obr, expected)
        rows.append({**row, **trial.measure(tokens, seen).means()})
    return rows


def completions(trial: Trial, seen: NDArray[np.bool_]) -> dict[str, Measures]:
    """Return the quality of each kind of completion of the same observed tiles."""
    no_tiles, all_tiles = np.zeros_like(seen), trial.valid
    results = {
        how: trial.measure(trial.completed(seen, how), seen)
        for how in ("none", "nearest", "fill", "ours")
    }
    results["LR only"] = trial.measure(trial.completed(no_tiles, "fill"), no_tiles)
    results["full"] = trial.measure(trial.completed(all_tiles, "full"), all_tiles)
    return results


def neighbours(trial: Trial, seen: NDArray[np.bool_]) -> dict[str, float]:
    """Return the label agreement of completed tiles with their nearest training tiles (section B).

    Completed tokens that drift have nearest neighbours with other concepts. The agreement is the
    Jaccard index of the concepts of a tile and of its nearest training tiles, by centred cosine,
    over unobserved tiles with at least one concept.

    Args:
        trial: The observer and the scenes.
        seen: (m, R, C) bool mask of observed tiles.

    Returns:
        Completion -> mean agreement; "true" for the true HR tokens. Empty without labels.
    """
    agreements = {}
    for name, how in (("HR only", "nearest"), ("fill", "fill"), ("ours", "ours"), ("true", "full")):
        value = agreement(trial, trial.completed(seen, how), seen)
        if value is not None:
            agreements[name] = value
    return agreements


def agreement(trial: Trial, tokens: NDArray[np.floating], seen: NDArray[np.bool_]) -> float | None:
    """Return the mean agreement of unobserved tiles with their neighbours; see `neighbours`.

    Args:
        trial: The observer and the scenes.
        tokens: (m, R * k, C * k, d) completed tokens.
        seen: (m, R, C) bool mask of observed tiles.

    Returns:
        0 to 1; None without labels, or if no unobserved tile has a concept.
    """
    material = trial.material
    if material.known is None or trial.known is None:
        return None
    unseen = dense.from_grids(~seen, trial.place) & trial.known.any(axis=1)
    queries = np.flatnonzero(unseen)
    if not queries.size:
        return None
    queries = queries[:: max(1, queries.size // _MAX_QUERIES)]
    train = material.tiles(material.scenes("train"))
    gallery, labels = _unit(material.means(train)), material.known[train]
    similarity = _unit(trial.tile_means(tokens)[queries]) @ gallery.T
    nearest = np.argsort(similarity.max() - similarity, axis=1, kind="stable")[:, :_NEIGHBOURS]
    a, b = trial.known[queries][:, None], labels[nearest]
    intersection, union = (a & b).sum(-1), (a | b).sum(-1)
    return float((intersection / np.maximum(union, 1)).mean())


def failures(trial: Trial, seen: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return the worst tile or scene for each kind of failure (section F).

    "missed": the unobserved tile with the highest true gain. "drift": the unobserved tile whose
    error increases most from the LR fill to the completion. "complex": the scene with the highest
    mean error of unobserved tiles.
    """
    tokens, fill = trial.completed(seen, "ours"), trial.completed(seen, "fill")
    side = trial.material.shape.hr_side
    error = np.square(dense.to_tiles(tokens - trial.hr, side)).mean(axis=(3, 4))
    fill_error = np.square(dense.to_tiles(fill - trial.hr, side)).mean(axis=(3, 4))
    unseen = trial.valid & ~seen
    cases: list[dict[str, Any]] = []
    if trial.truth:
        gain = dense.to_grids(trial.truth["gain"], trial.place, trial.valid.shape)
        cases.append(_worst(trial, "missed", np.where(unseen, gain, -np.inf)))
    cases.append(_worst(trial, "drift", np.where(unseen, error - fill_error, -np.inf)))
    mean = np.where(unseen, error, 0).sum(axis=(1, 2)) / np.maximum(1, unseen.sum(axis=(1, 2)))
    scene = int(mean.argmax())
    names = trial.material.pairs.pool.scenes
    cases.append({
        "kind": "complex", "scene": names[trial.scenes[scene]].scene_id, "row": None, "col": None,
        "value": float(mean[scene]),
    })  # fmt: skip
    return [case for case in cases if math.isfinite(case["value"])]


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
    lines: dict[str, list[Any]] = {"fill": [], "ours": []}
    if trial.truth:
        lines["captured"] = []
    for share in CURVE:
        seen = trial.first(ranking, share)
        for how in ("fill", "ours"):
            tokens = trial.completed(seen, how)
            lines[how].append(trial.quality(tokens, seen, by_group=how == "ours"))
        if trial.truth:
            chosen = dense.from_grids(seen, trial.place)
            lines["captured"].append(captured(trial.truth["gain"], chosen))
    return lines


def _unit(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
