"""Tables of results for `observe`: policies, completions and targets, by the rows they compare."""

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
from foveate.observe.calibration import PAPER_POINTS
from foveate.observe.evaluate import SWEEP
from foveate.observe.networks.sizes import ARCHITECTURES
from foveate.observe.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.bench.compare import Comparison
    from foveate.bench.observe.job import BenchJob

# Policies by completions at one observed share (Tables 1, 2 and 4 of the paper).
POLICIES = ("random", "uniform", "lr-entropy", "sar", "patchdrop", "learned", "design")
COMPLETIONS = ("none", "fill", "ours")
_MAIN_ENOUGH = 0.95  # of the scene mAP@20 of full HR
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


def main_claims(_: BenchJob, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say what sampler and predictor are worth, and how near they come to full HR."""
    lines = present([reference_ahead_of(found, name) for name in _MAIN_RIVALS])
    full, own = found["full HR"].means, found[MAIN_OWN].means
    for measure, name in (("scenes max @20", "max"), ("scenes mean @20", "mean")):
        if full.get(measure) and measure in own:
            share = own[measure] / full[measure]
            others = [
                row.means[measure] / full[measure]
                for label, row in found.items()
                if label not in {MAIN_OWN, "full HR"} and measure in row.means
            ]
            text = (
                f"{MAIN_OWN} has {share:.1%} of the scene mAP@20 ({name}) of full HR at OBR "
                f"{own['obr']:.3f}: {own[measure]:.3f} of {full[measure]:.3f}"
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
    note="SAR: classifiers of HR tiles, where HR was observed and a concept needs it, and a "
    "student of LR elsewhere, as in Revankar et al. N.L. sampling draws by --covariate. ours, all "
    "tiles: the prediction itself, of observed tiles too, is judged. no predictor (LR kept): "
    "unobserved tiles have the mean LR token of their scene; direct LR filling: their own. tuned "
    "heads: classifiers are fitted to completed training scenes. LR fill: what a ridge regression "
    "of LR tokens, their neighbours' and the scene's mean makes of the HR tokens. LR head: concept "
    "classifiers fitted to the same inputs; it is the teacher of sar. patchdrop: trained for this "
    "observed share. A pooled scene vector hides bad tiles: tiles and regions lead.",
)  # fmt: skip


# What completion adds to the best LR fill (Table 6).
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
    "Each block has one mask; rows are compared with the better of the two LR fills, chosen by the "
    "figures shown. agreement of neighbours: of the concepts of an unobserved tile and of the "
    "training tiles nearest to it (Figure 7), by the Jaccard index. kept: the share of seeds under "
    "which what was trained was better on the validation scenes than what it started from; where "
    "it was not, that was put back. {more}"
)


def completion_rows(completions: Mapping[str, str], shares: tuple[float, ...]) -> list[Row]:
    """Return rows: predictors under the same masks."""
    return [
        Row(label, (Condition(mask, share, completion),), f"{mask} {share:g}")
        for mask in MASKS
        for share in shares
        for label, completion in completions.items()
    ]


def simple_claims(_: BenchJob, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say what our completion adds to the best fill, mask by mask."""
    names = [name for name in found if name.endswith((": ours", ": kriging only"))]
    return present([ahead_of_reference(found, name) for name in names])


def architecture_claims(job: BenchJob, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say which form is best at each mask, and what that of the job adds to the best fill."""
    names = [name for name in found if name.endswith(f": {job.architecture}")]
    lines = present([ahead_of_reference(found, name) for name in names])
    for block in dict.fromkeys(row.block for row in found.values()):
        own = [r for r in found.values() if r.block == block and r.label not in FILLS]
        first = best(own, "tiles")
        if first is not None:
            value = first.means["tiles"]
            lines.append(Claim(f"{block}: the best form is {first.label}, tile mAP {value:.3f}"))
    return lines


PREDICTOR = Table(
    "What completion adds to an LR fill", "tiles", _COMPLETION_COLUMNS,
    lambda _: completion_rows(SIMPLE, SHARES), tuple(FILLS), simple_claims,
    note=_COMPLETION_NOTE.format(
        more="nearest: the nearest observed tile of the scene. kriging only: the "
    "residuals of the fill, spread by the kriging as it is trained before the blocks."),
)  # fmt: skip
ABLATION = Table(
    "Forms of the predictor", "tiles", _COMPLETION_COLUMNS,
    lambda _: completion_rows(BY_FORM, SHARES), tuple(FILLS), architecture_claims,
    note=_COMPLETION_NOTE.format(
        more="Forms whose name ends in -blind do not let their blocks see LR tokens; "
    "plain-blind has no fill either, so it sees nothing but HR."),
)  # fmt: skip


# Curves over observed shares, policy by policy (Figure 4 b).
ORACLES = {"oracle-gain": "efficiency", "oracle-greedy": "efficiency greedy"}
HEIGHTS = tuple(f"@{share:g}" for share in CURVE)
_BUDGET_ENOUGH = 0.7  # normalised efficiency
NOTE = (
    "area: mean height of the curve of tile mAP over OBR .02 to .5, by trapezoids. efficiency: "
    "(area - that of random) / (that of an oracle - that of random), with the same completion; "
    "oracle-gain takes the tiles whose true gain is highest, oracle-greedy orders them by the "
    "design under the true gain. captured: the share of the true gain, its mean over the curve."
)


def budget_rows(_: BenchJob) -> list[Row]:
    """Return the rows."""
    names = (*POLICIES, *ORACLES)
    return [
        Row(f"{p}, {completion}", curve(p, completion))
        for completion in ("ours", "fill")
        for p in names
    ]


def efficient(found: list[Comparison]) -> list[Comparison]:
    """Add normalised efficiencies, against the rows of random and the oracles."""
    areas = {row.label: row.means["area"] for row in found if "area" in row.means}
    changed = []
    for row in found:
        completion = row.label.rpartition(", ")[2]
        low, more = areas.get(f"random, {completion}"), {}
        for oracle, name in ORACLES.items():
            high = areas.get(f"{oracle}, {completion}")
            if row.label in areas and low is not None and high is not None and high > low:
                more[name] = (areas[row.label] - low) / (high - low)
        changed.append(replace(row, means={**row.means, **more}))
    return changed


def budget_claims(_: BenchJob, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say which policies beat random ones, and how near the learned ones come to an oracle."""
    names = [f"{policy}, ours" for policy in POLICIES if policy != "random"]
    lines = present([ahead_of_reference(found, name) for name in names])
    for name in ("learned, ours", "design, ours"):
        for key, oracle in (("efficiency", "oracle-gain"), ("efficiency greedy", "oracle-greedy")):
            if key in found[name].means:
                value = found[name].means[key]
                text = f"{name} has a normalised efficiency of {value:.2f} against {oracle}"
                # Of a range that may be noise, a share says nothing.
                wide = found[f"{oracle}, ours"].verdict == "better"
                lines.append(Claim(text, value >= _BUDGET_ENOUGH if wide else None))
    return lines


BUDGET = Table(
    "Curves over observed shares", "area",
    (*HEIGHTS, "area", "efficiency", "efficiency greedy", "captured"),
    budget_rows, ("random, ours",), budget_claims, efficient,
    NOTE + " patchdrop is trained for one observed share, and ranks for the others.",
)  # fmt: skip


# How many blocks the predictor needs.
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


def depth_claims(_: BenchJob, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say whether blocks add to the kriging, and which depth is best."""
    names = [name for name, row in found.items() if row.label != _NONE]
    lines = present([ahead_of_reference(found, name) for name in names])
    return [*lines, *best_of_blocks(found, "tiles", "tile mAP")]


DEPTH = Table(
    "Depth of the predictor", "tiles",
    ("obr", "tiles", "unseen", "regions", "scenes max @20", "scenes mean @20", "cosine", "kept"),
    depth_rows, (_NONE,), depth_claims,
    note="All after stage I. 0 blocks: the inlet and outlet alone, a linear correction of each "
    "token by itself. kept: the share of seeds under which blocks were better on the validation "
    "scenes than none.",
)  # fmt: skip


# A start from a trained observer against one from random weights (Table 6).
_PRETRAINING_COMPLETIONS = {"linear fill": "fill", "not pretrained": "ours", "pretrained": "init"}


def pretraining_rows(_: BenchJob) -> list[Row]:
    """Return the rows."""
    return [
        Row(label, (Condition(mask, share, completion),), f"{mask} {share:g}")
        for mask in ("random", "learned")
        for share in SHARES
        for label, completion in _PRETRAINING_COMPLETIONS.items()
    ]


def pretraining_claims(_: BenchJob, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say what the start is worth, mask by mask."""
    names = [name for name, row in found.items() if row.label == "pretrained"]
    return present([ahead_of_reference(found, name) for name in names])


PRETRAINING = Table(
    "Start from a trained observer", "tiles",
    ("obr", "tiles", "unseen", "regions", "scenes max @20", "scenes mean @20", "cosine", "kept"),
    pretraining_rows, ("not pretrained",), pretraining_claims,
    note="Only the predictor starts from the other observer; the sampler and the LR fill are those "
    "of these pairs, and in all rows tokens are reduced as in that observer. Nothing checks that "
    "it has not seen the test scenes: give one that was trained elsewhere.",
)  # fmt: skip


# The target of the sampler (Table 6), under one predictor.
_PAPER = ("product", "additive", "semantic", "structural")  # its order, the best first


def supervision_rows(_: BenchJob) -> list[Row]:
    """Return the rows."""
    forms = [Row(f"{form}, ours", curve(f"learned:{form}", "ours")) for form in TARGETS]
    ends = [Row(f"{name}, ours", curve(name, "ours")) for name in ("random", *ORACLES)]
    return forms + ends


def supervision_claims(job: BenchJob, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say which forms beat random tiles, which is best, and whether the paper's order holds."""
    own = [found[f"{form}, ours"] for form in TARGETS]
    lines = present([ahead_of_reference(found, row.label) for row in own])
    first = best(own, "area")
    if first is not None:
        figure = first.means["area"]
        lines.append(Claim(
            f"the form with the largest area is {first.label} ({figure:.3f}); that of the job is "
            f"{job.supervision}"
        ))  # fmt: skip
    areas = [found[f"{form}, ours"].means.get("area") for form in _PAPER]
    known = [a for a in areas if a is not None]
    if len(known) == len(_PAPER):
        text = f"the paper's order, {' > '.join(_PAPER)}, by area: " + ", ".join(
            f"{a:.3f}" for a in known
        )
        # Neighbours in the order are not compared: it can be missed by it, not reached.
        lines.append(Claim(text, None if known == sorted(known, reverse=True) else False))
    return lines


SUPERVISION = Table(
    "Forms of supervision", "area",
    (*HEIGHTS, "area", "efficiency", "efficiency greedy", "captured"),
    supervision_rows, ("random, ours",), supervision_claims, efficient,
    NOTE + " All forms share one predictor, whose stage II had masks of the job's supervision.",
)  # fmt: skip


# The sweep of section C.1: what each threshold chooses on test scenes.
THRESHOLD_OWN = "tau of the budget"
_DRIFT = 0.1  # of the expected share


def threshold_rows(job: BenchJob) -> list[Row]:
    """Return the rows: the paper's thresholds, and that of the job's observed share."""
    own = round(1 - job.obr, 6)
    return [
        Row(
            THRESHOLD_OWN if tau == own else f"tau {tau:g}", (Condition(f"tau={tau:g}", 0, "ours"),)
        )
        for tau in sorted({*SWEEP, own})
    ] + [
        Row(f"tau {tau:g}, paper's scale", (Condition(f"tau-raw={tau:g}", 0, "ours"),))
        for tau in PAPER_POINTS
    ]


def threshold_claims(job: BenchJob, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say how far realised shares are off, and whether more tiles are always better."""
    lines = []
    off = {name: row.means["drift"] for name, row in found.items() if "drift" in row.means}
    if off:
        worst = max(off, key=lambda name: abs(off[name]))
        text = f"the largest drift is {off[worst]:+.1%}, at {worst}; it is a mean over seeds"
        lines.append(Claim(text, abs(off[worst]) <= _DRIFT))
        sd = found[THRESHOLD_OWN].sds["drift"]
        text = (
            f"at tau {1 - job.obr:g} the drift is {off[THRESHOLD_OWN]:+.1%}, sd over seeds {sd:.1%}"
        )
        lines.append(Claim(text))
    values = [
        row.means["tiles"]
        for row in found.values()
        if "tiles" in row.means and not row.label.endswith("scale")
    ]
    if values:
        falls = all(a >= b for a, b in pairwise(values))
        text = "tile mAP never rises as the threshold does"
        alike = len(set(values)) == 1
        lines.append(Claim(text, None, "equal") if alike else Claim(text, falls))
    return lines


THRESHOLD = Table(
    "Thresholds", "tiles",
    (
        "obr", "drift", "tiles", "unseen", "regions", "scenes max @20", "scenes mean @20",
        "cosine", "captured",
    ),
    threshold_rows, (THRESHOLD_OWN,), threshold_claims,
    note="Thresholds are on our scale: a score is the share of the validation tiles below it, so "
    "tau should select the share 1 - tau; that of the budget is 1 - OBR. drift: realised / "
    "expected - 1. On the paper's scale raw scores are scaled by their least and largest on the "
    "validation tiles; there its .25, .55 and .85 chose OBR .545, .123 and .018 (Table 6). A "
    "threshold from the target's own scores has no drift.",
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
