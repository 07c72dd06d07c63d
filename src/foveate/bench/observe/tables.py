"""Tables of results for `observe`: policies, completions and targets."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from foveate.bench.claims import (
    ahead_of_reference,
    best,
    best_of_blocks,
    enough,
    present,
    reference_ahead_of,
)
from foveate.bench.conditions import Claim, Row, Table
from foveate.bench.observe.encoders import ENCODERS
from foveate.bench.observe.observing import (
    BLIND,
    CURVE,
    MAIN_OWN,
    PAPER_ROWS,
    SHARES,
    Condition,
    curve,
)
from foveate.bench.observe.zeroshot import ZEROSHOT
from foveate.observe.networks.sizes import ARCHITECTURES
from foveate.observe.scoring.calibration import PAPER_POINTS
from foveate.observe.scoring.targets import TARGETS
from foveate.observe.training.evaluate import SWEEP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.bench.compare import Comparison
    from foveate.bench.observe.job import BenchJob

# Policies by completions at one observed share (Tables 1, 2 and 4 of the paper).
POLICIES = ("random", "uniform", "lr-entropy", "sar", "patchdrop", "learned", "design")
COMPLETIONS = ("none", "fill", "ours")
_MAIN_ENOUGH = 0.95  # threshold relative to the scene mAP@20 of full HR
_MAIN_RIVALS = ("random, ours", "LR fill", "LR head", "learned, none", "learned, fill")


def main_rows(job: BenchJob) -> list[Row]:
    """Return the rows."""
    ends = [
        Row("full HR", (Condition("all", 1, "full"),)),
        Row("LR fill", (Condition("none", 0, "fill"),)),
        Row("LR head", (Condition("none", 0, "head"),)),
    ]
    named = [
        Row(label, (Condition(policy, share or job.obr, completion),))
        for label, policy, share, completion in PAPER_ROWS
    ]
    return [*ends, *named, *(
        Row(f"{policy}, {completion}", (Condition(policy, job.obr, completion),))
        for policy in POLICIES
        for completion in COMPLETIONS
    )]  # fmt: skip


def main_claims(_: BenchJob, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare ours with its parts, and with full HR."""
    lines = present([reference_ahead_of(compared, name) for name in _MAIN_RIVALS])
    full, ours = compared["full HR"].means, compared[MAIN_OWN].means
    for measure, name in (("scenes max @20", "max"), ("scenes mean @20", "mean")):
        if full.get(measure) and measure in ours:
            share = ours[measure] / full[measure]
            others = [
                row.means[measure] / full[measure]
                for label, row in compared.items()
                if label not in {MAIN_OWN, "full HR"} and measure in row.means
            ]
            text = (
                f"{MAIN_OWN} has {share:.1%} of the scene mAP@20 ({name}) of full HR at OBR "
                f"{ours['obr']:.3f}: {ours[measure]:.3f} of {full[measure]:.3f}"
            )
            lines.append(enough(text, share, _MAIN_ENOUGH, others))
    return lines


MAIN = Table(
    "Policies and completions", "tiles",
    (
        "obr", "tiles", "unseen", "regions", "scenes max @20", "scenes mean @20",
        "scenes max @100", "scenes mean @100", "pooled base @20", "pooled novel @20", "cosine",
        "captured",
    ),
    main_rows, (MAIN_OWN,), main_claims,
    note="SAR: classifiers of HR tiles if HR was observed and a concept needs it, else a student "
    "on LR, as in Revankar et al. N.L. sampling draws by --covariate. ours, all tiles: the "
    "predictions are evaluated, also those for observed tiles. no predictor (LR kept): unobserved "
    "tiles have the mean LR token of their scene; direct LR filling: their own LR tokens. tuned "
    "heads: classifiers fitted to completed training scenes. LR fill: HR tokens predicted by ridge "
    "regression from LR tokens, those of the neighbours and the mean of the scene. LR head: "
    "concept classifiers with the same inputs, the teacher of sar. patchdrop: trained for this "
    "observed share. A pooled scene vector hides errors in single tiles: tiles and regions lead.",
)  # fmt: skip


# Completion compared with the best LR fill (Table 6).
MASKS = ("random", "learned")
FILLS = {"linear fill": "fill", "convolutional fill": "conv"}
SIMPLE = {
    "none": "none", "LR kept": "lr scene", "direct LR filling": "lr tile", "nearest": "nearest",
    **FILLS, "kriging only": "kriging", "ours": "ours",
}  # fmt: skip
BY_FORM = {**FILLS, **{name: f"form:{name}" for name in (*ARCHITECTURES, *BLIND)}}
_COMPLETION_COLUMNS = (
    "obr",
    "tiles",
    "unseen",
    "regions",
    "scenes max @20",
    "scenes mean @20",
    "cosine",
    "neighbours",
    "kept",
)
_COMPLETION_NOTE = (
    "Each block has one mask; rows are compared with the better of the two LR fills, selected by "
    "the displayed figures. agreement of neighbours: Jaccard index of the concepts of an "
    "unobserved tile and of the nearest training tiles (Figure 7). kept: share of seeds under "
    "which the trained networks were better on the validation scenes than their initial state; "
    "otherwise they were reset to it. {more}"
)


def completion_rows(completions: Mapping[str, str], shares: tuple[float, ...]) -> list[Row]:
    """Return rows of predictors under the same masks."""
    return [
        Row(label, (Condition(mask, share, completion),), f"{mask} {share:g}")
        for mask in MASKS
        for share in shares
        for label, completion in completions.items()
    ]


def simple_claims(_: BenchJob, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare our completion with the best fill of each mask."""
    names = [name for name in compared if name.endswith((": ours", ": kriging only"))]
    return present([ahead_of_reference(compared, name) for name in names])


def architecture_claims(job: BenchJob, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare the job's architecture with the best fill, and return the best of each mask."""
    names = [name for name in compared if name.endswith(f": {job.architecture}")]
    lines = present([ahead_of_reference(compared, name) for name in names])
    for block in dict.fromkeys(row.block for row in compared.values()):
        predictors = [r for r in compared.values() if r.block == block and r.label not in FILLS]
        first = best(predictors, "tiles")
        if first is not None:
            text = f"{block}: the best architecture is {first.label}, tile mAP "
            lines.append(Claim(f"{text}{first.means['tiles']:.3f}"))
    return lines


PREDICTOR = Table(
    "Completion compared with LR fills", "tiles", _COMPLETION_COLUMNS,
    lambda _: completion_rows(SIMPLE, SHARES), tuple(FILLS), simple_claims,
    note=_COMPLETION_NOTE.format(
        more="nearest: the nearest observed tile of the scene. kriging only: kriging of the "
    "residuals of the fill, as trained before the blocks."),
)  # fmt: skip
ABLATION = Table(
    "Architectures of the predictor", "tiles", _COMPLETION_COLUMNS,
    lambda _: completion_rows(BY_FORM, SHARES), tuple(FILLS), architecture_claims,
    note=_COMPLETION_NOTE.format(
        more="The blocks of architectures ending in -blind have no LR tokens; plain-blind has no "
    "fill either, so its only input is HR."),
)  # fmt: skip


# Curves over observed shares, policy by policy (Figure 4 b).
ORACLES = {"oracle-gain": "efficiency", "oracle-greedy": "efficiency greedy"}
HEIGHTS = tuple(f"@{share:g}" for share in CURVE)
_CURVE_COLUMNS = (*HEIGHTS, "area", "efficiency", "efficiency greedy", "captured")
_BUDGET_ENOUGH = 0.7  # threshold of the normalised efficiency
NOTE = (
    "area: mean height of the curve of tile mAP over OBR 0.02 to 0.5, by trapezoids. efficiency: "
    "(area - area of random) / (area of an oracle - area of random), with the same completion; "
    "oracle-gain selects the tiles with the highest true gain, oracle-greedy orders them by the "
    "design with the true gain. captured: captured share of the true gain, mean over the curve."
)


def budget_rows(_: BenchJob) -> list[Row]:
    """Return the rows."""
    names = (*POLICIES, *ORACLES)
    return [
        Row(f"{p}, {completion}", curve(p, completion))
        for completion in ("ours", "fill")
        for p in names
    ]


def efficient(compared: list[Comparison]) -> list[Comparison]:
    """Add normalised efficiencies relative to the rows of random and the oracles."""
    areas = {row.label: row.means["area"] for row in compared if "area" in row.means}
    derived = []
    for row in compared:
        completion = row.label.rpartition(", ")[2]
        low, efficiencies = areas.get(f"random, {completion}"), {}
        for oracle, name in ORACLES.items():
            high = areas.get(f"{oracle}, {completion}")
            if row.label in areas and low is not None and high is not None and high > low:
                efficiencies[name] = (areas[row.label] - low) / (high - low)
        derived.append(replace(row, means={**row.means, **efficiencies}))
    return derived


def budget_claims(_: BenchJob, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare the policies with random, and the learned ones with the oracles."""
    names = [f"{policy}, ours" for policy in POLICIES if policy != "random"]
    lines = present([ahead_of_reference(compared, name) for name in names])
    for name in ("learned, ours", "design, ours"):
        for key, oracle in (("efficiency", "oracle-gain"), ("efficiency greedy", "oracle-greedy")):
            if key in compared[name].means:
                value = compared[name].means[key]
                text = f"{name} has a normalised efficiency of {value:.2f} relative to {oracle}"
                # Undefined when the oracle is not significantly better than random.
                defined = compared[f"{oracle}, ours"].verdict == "better"
                lines.append(Claim(text, value >= _BUDGET_ENOUGH if defined else None))
    return lines


BUDGET = Table(
    "Curves over observed shares", "area", _CURVE_COLUMNS,
    budget_rows, ("random, ours",), budget_claims, efficient,
    NOTE + " patchdrop is trained for one observed share; its ranking is used for the others.",
)  # fmt: skip


# Number of blocks of the predictor.
DEPTH_MASKS = ("random", "learned")
_NONE = "kriging only"


def depth_rows(job: BenchJob) -> list[Row]:
    """Return the rows."""
    depths = (0, 1, 2, 4) if job.size == "nano" else (0, 1, 2, 4, 6)
    completions = {_NONE: "kriging", **{f"{n} block{'s' * (n != 1)}": f"depth:{n}" for n in depths}}
    return [
        Row(label, (Condition(mask, job.obr, completion),), f"{mask} {job.obr:g}")
        for mask in DEPTH_MASKS
        for label, completion in completions.items()
    ]


def depth_claims(_: BenchJob, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare numbers of blocks with kriging only, and return the best."""
    names = [name for name, row in compared.items() if row.label != _NONE]
    lines = present([ahead_of_reference(compared, name) for name in names])
    return [*lines, *best_of_blocks(compared, "tiles", "tile mAP")]


DEPTH = Table(
    "Depth of the predictor", "tiles",
    ("obr", "tiles", "unseen", "regions", "scenes max @20", "scenes mean @20", "cosine", "kept"),
    depth_rows, (_NONE,), depth_claims,
    note="All after stage I. 0 blocks: input and output projections only, a linear correction of "
    "each token. kept: share of seeds under which blocks were better on the validation scenes "
    "than none.",
)  # fmt: skip


# Initial weights of a trained observer compared with random ones (Table 6).
_PRETRAINING_COMPLETIONS = {"linear fill": "fill", "not pretrained": "ours", "pretrained": "init"}


def pretraining_rows(_: BenchJob) -> list[Row]:
    """Return the rows."""
    return [
        Row(label, (Condition(mask, share, completion),), f"{mask} {share:g}")
        for mask in ("random", "learned")
        for share in SHARES
        for label, completion in _PRETRAINING_COMPLETIONS.items()
    ]


def pretraining_claims(_: BenchJob, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare pretrained with random initial weights for each mask."""
    names = [name for name, row in compared.items() if row.label == "pretrained"]
    return present([ahead_of_reference(compared, name) for name in names])


PRETRAINING = Table(
    "Initial weights of a trained observer", "tiles",
    ("obr", "tiles", "unseen", "regions", "scenes max @20", "scenes mean @20", "cosine", "kept"),
    pretraining_rows, ("not pretrained",), pretraining_claims,
    note="Only the predictor is initialised from the other observer; the sampler and the LR fill "
    "are those of these pairs, and in all rows tokens are projected as in that observer. It is "
    "not checked that the observer was trained without the test scenes: use one from elsewhere.",
)  # fmt: skip


# The target of the sampler (Table 6), with one predictor.
_PAPER = ("product", "additive", "semantic", "structural")  # order of the paper, best first


def supervision_rows(_: BenchJob) -> list[Row]:
    """Return the rows."""
    forms = [Row(f"{form}, ours", curve(f"learned:{form}", "ours")) for form in TARGETS]
    ends = [Row(f"{name}, ours", curve(name, "ours")) for name in ("random", *ORACLES)]
    return forms + ends


def supervision_claims(job: BenchJob, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare the targets with random tiles, return the best, and check the paper's order."""
    targets = [compared[f"{target}, ours"] for target in TARGETS]
    lines = present([ahead_of_reference(compared, row.label) for row in targets])
    first = best(targets, "area")
    if first is not None:
        figure = first.means["area"]
        lines.append(Claim(
            f"the supervision with the largest area is {first.label} ({figure:.3f}); that of the "
            f"job is {job.supervision}"
        ))  # fmt: skip
    areas = [compared[f"{form}, ours"].means.get("area") for form in _PAPER]
    known = [a for a in areas if a is not None]
    if len(known) == len(_PAPER):
        text = f"the paper's order, {' > '.join(_PAPER)}, by area: " + ", ".join(
            f"{a:.3f}" for a in known
        )
        # Neighbours in the order are not compared: the order can be refuted, not confirmed.
        lines.append(Claim(text, None if known == sorted(known, reverse=True) else False))
    return lines


SUPERVISION = Table(
    "Supervision of the sampler", "area", _CURVE_COLUMNS,
    supervision_rows, ("random, ours",), supervision_claims, efficient,
    NOTE + " All rows share one predictor, whose stage II had masks of the job's supervision.",
)  # fmt: skip


# The sweep of section C.1: tiles selected by each threshold on test scenes.
THRESHOLD_OWN = "tau of the budget"
_DRIFT = 0.1  # maximum drift relative to the expected share


def threshold_rows(job: BenchJob) -> list[Row]:
    """Return the rows: the paper's thresholds, and that of the job's observed share."""
    budget = round(1 - job.obr, 6)
    return [
        Row(
            THRESHOLD_OWN if tau == budget else f"tau {tau:g}",
            (Condition(f"tau={tau:g}", 0, "ours"),),
        )
        for tau in sorted({*SWEEP, budget})
    ] + [
        Row(f"tau {tau:g}, paper's scale", (Condition(f"tau-raw={tau:g}", 0, "ours"),))
        for tau in PAPER_POINTS
    ]


def threshold_claims(job: BenchJob, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Return the drift of realised shares, and check whether more tiles are always better."""
    lines = []
    drift = {name: row.means["drift"] for name, row in compared.items() if "drift" in row.means}
    if drift:
        worst = max(drift, key=lambda name: abs(drift[name]))
        text = f"the largest drift, as a mean over seeds, is {drift[worst]:+.1%}, at {worst}"
        lines.append(Claim(text, abs(drift[worst]) <= _DRIFT))
        sd = compared[THRESHOLD_OWN].sds["drift"]
        mean = f"{drift[THRESHOLD_OWN]:+.1%}"
        lines.append(Claim(f"at tau {1 - job.obr:g} the drift is {mean}, sd over seeds {sd:.1%}"))
    values = [
        row.means["tiles"]
        for row in compared.values()
        if "tiles" in row.means and not row.label.endswith("scale")
    ]
    if values:
        falls = all(a >= b for a, b in pairwise(values))
        text = "tile mAP never rises with the threshold"
        equal = len(set(values)) == 1
        lines.append(Claim(text, None, "equal") if equal else Claim(text, falls))
    return lines


THRESHOLD = Table(
    "Thresholds", "tiles",
    (
        "obr", "drift", "tiles", "unseen", "regions", "scenes max @20", "scenes mean @20",
        "cosine", "captured",
    ),
    threshold_rows, (THRESHOLD_OWN,), threshold_claims,
    note="Thresholds are on our scale: a score is the share of the validation tiles below it, so "
    "tau should select the share 1 - tau; the threshold of the budget is 1 - OBR. drift: realised "
    "/ expected - 1. On the scale of the paper, raw scores are scaled by their minimum and maximum "
    "on the validation tiles; there 0.25, 0.55 and 0.85 selected OBR 0.545, 0.123 and 0.018 (Table "
    "6). A threshold from the scores of the target scenes has no drift.",
)  # fmt: skip


TABLES: Mapping[str, Table] = {
    "main": MAIN,
    "ablation": ABLATION,
    "supervision": SUPERVISION,
    "threshold": THRESHOLD,
    "predictor": PREDICTOR,
    "budget": BUDGET,
    "depth": DEPTH,
    "zeroshot": ZEROSHOT,
    "pretraining": PRETRAINING,
    "encoders": ENCODERS,
}
