"""Tables of results for `focus`: looks against methods without a plan, and their settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from foveate.bench.claims import ahead_of_reference, present, reference_ahead_of
from foveate.bench.conditions import Claim, Row, Table
from foveate.bench.focus.conditions import Condition, options_of
from foveate.bench.focus.measure import BY_KIND
from foveate.bench.focus.methods import METHODS, needs_query
from foveate.bench.focus.methods.looks import LOOKS
from foveate.bench.focus.sweep import STAGES, SWEEP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from foveate.bench.compare import Comparison

OWN = "look-balanced"
PLAIN = "whole-image"


def baselines() -> tuple[str, ...]:
    """Return the methods that are no looks."""
    return tuple(name for name in METHODS if name not in LOOKS)


# Methods of a table where none are named: what the paper compares, and the strongest simple ones.
USUAL_METHODS: dict[str, tuple[str, ...]] = {
    "looks": (
        *LOOKS, PLAIN, "random/vote", "random/newest", "stratified/vote", "k-center/vote",
        "max-probability", "tiling/vote", "random/query", "stratified/query", "tiling/query",
        "zoomeye", "zoomsearch",
    ),
    "methods": (
        OWN, PLAIN, "random/vote", "tiling/vote", "scs/features", "esc/features", "al-seg/features",
        "mmts/features", "daus/features",
    ),
    "regions": ("look-query", "look-rare", "feature-norm/mean", "stratified/query"),
    "mechanism": (
        OWN, "pixel-wise/mean", "rise/mean", "feature-norm/mean", "overview-probability/mean",
        "smdl/masks/mean", "lima/masks/mean",
    ),
}  # fmt: skip

TITLES = {
    "top-1": "top-1 accuracy", "top-5": "top-5 accuracy", "recall": "recall@K",
    "pointing": "pointing game", "iou": "IoU", "dice": "Dice",
    "area": "area of the regions",
    "regions": "regions", "epsilon": "achieved epsilon", "depth": "depth", "passes": "passes",
    "seconds": "seconds", "passes x": "passes, times", "seconds x": "seconds, times",
    "insertion blur": "insertion (blur)", "deletion blur": "deletion (blur)",
    "insertion mean": "insertion (mean)", "deletion mean": "deletion (mean)",
    "share": "share of the class in regions", "at random": "in random ones of the same sizes",
    "gain": "share above random", "lift": "times random",
}  # fmt: skip
USUAL = ("top-1", "top-5", "recall", "pointing", "iou", "passes", "seconds")


@dataclass(frozen=True)
class Plan:
    """What a table is made for.

    Attributes:
        methods: Names of methods.
        passes: Budgets, rising.
        models: Names of the models.
        sets: Names of the sets of scenes.
        classes: Whether there are classes; without, what is planted is looked for.
        kinds: Kinds of scenes.
    """

    methods: tuple[str, ...]
    passes: tuple[float, ...]
    models: tuple[str, ...]
    sets: tuple[str, ...]
    classes: bool
    kinds: tuple[str, ...] = ()

    @property
    def looks(self) -> list[str]:
        """The looks among the methods that need not be told what to find."""
        return [name for name in self.methods if name in LOOKS and not needs_query(name)]

    @property
    def most(self) -> float:
        """The largest budget."""
        return self.passes[-1]


def table_for(name: str, plan: Plan) -> Table:
    """Return a table for a plan.

    Without classes another measure leads; kinds of scenes are columns; and where a table names no
    reference, it is the best of the methods that are no looks.

    Args:
        name: Of `TABLES`.
        plan: What it is made for.
    """
    table = TABLES[name]
    lead = "recall" if table.lead == "top-1" and not plan.classes else table.lead
    kinds = [f"{measure}: {kind}" for measure in BY_KIND for kind in plan.kinds]
    columns = dict.fromkeys([lead, *table.columns, *(kinds if len(plan.kinds) > 1 else ())])
    references = table.references or baselines()
    return replace(table, lead=lead, columns=tuple(columns), references=references)


def stages_of(name: str) -> tuple[Any, ...]:
    """Return what adds rows to a table once its first rows are measured; mostly nothing.

    Each is called with the plan, the rows so far, their results and the leading measure.
    """
    return STAGES if name == "lambda" else ()


def title_of(measure: str) -> str:
    """Return the name of a measure for people."""
    name, colon, part = measure.partition(": ")
    known = TITLES.get(name, name)
    return f"{known}, {part}" if colon else known


def budget(passes: float) -> str:
    """Write a budget."""
    return "no limit" if math.isinf(passes) else f"{passes:g} passes"


# Accuracy against passes.


def looks_rows(plan: Plan) -> list[Row]:
    """Return a row a method and budget; those that are told what to find in blocks of their own."""
    blocks = [(False, "{}"), (True, "{}, told what to find")]
    return [
        Row(name, (Condition(name, passes, told=told),), block.format(budget(passes)))
        for told, block in blocks
        for passes in plan.passes
        for name in plan.methods
        if needs_query(name) == told
    ]


def looks_claims(_: Plan, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say which looks are ahead of the best method without a plan, budget by budget."""
    names = [name for name, row in found.items() if row.label in LOOKS]
    return present([ahead_of_reference(found, name) for name in names])


LOOKS_TABLE = Table(
    "Looks against passes", "top-1", (*USUAL, "area", "epsilon"), looks_rows, (),
    looks_claims,
    note="Rows of one budget are compared with the baseline that does best there, chosen by the "
    "figures shown. epsilon: relative difference of the loss of the regions from the image's. "
    "recall@K: regions count up to K times the area of a planted window. seconds: the work of "
    "the method, and for each pass what one costs in a batch; without reading pixels.",
)  # fmt: skip


# The scores, switched off one by one (Table 3).
_SCORES = ("representativeness", "robustness", "synergy")
_SHORT = {"representativeness": "re", "robustness": "ro", "synergy": "sy"}
_SUBSETS = [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]  # in the paper's order
FULL = "ut + re + ro + sy"


def components_rows(plan: Plan) -> list[Row]:
    """Return the eight rows of Table 3 for each look."""
    rows = []
    for name in plan.looks:
        for kept in _SUBSETS:
            on = {_SCORES[i] for i in kept}
            gone = {score: 0.0 for score in _SCORES if score not in on}
            usual = {"representativeness": 0.7, "robustness": 0.65, "synergy": 0.8}
            weights = gone | {score: usual[score] for score in on}
            options = options_of(weights=weights, robust="robustness" in on)
            label = " + ".join(["ut", *(_SHORT[score] for score in _SCORES if score in on)])
            rows.append(Row(label, (Condition(name, plan.most, options=options),), name))
    return rows


def components_claims(plan: Plan, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say whether all scores together are ahead of each smaller set of them."""
    names = [name for look in plan.looks for name in found if name.startswith(f"{look}: ")]
    return present([reference_ahead_of(found, name) for name in names])


COMPONENTS = Table(
    "Scores of the importance", "top-1", USUAL, components_rows, (FULL,), components_claims,
    note="ut: utility, always there; re: representativeness, ro: robustness, sy: synergy, with the "
    "paper's weights. Measuring the robustness takes passes of the same budget.",
)  # fmt: skip


# Other ways of choosing, with their cost (Table 6).


def methods_rows(plan: Plan) -> list[Row]:
    """Return a row a method, at the largest budget; those that it does not hold, without limit."""
    names = [name for name in plan.methods if not needs_query(name)]
    return [Row(name, (Condition(name, plan.most),)) for name in dict.fromkeys((OWN, *names))] + [
        Row(f"{name}, {budget(math.inf)}", (Condition(name),))
        for name in names
        if name not in LOOKS and name != PLAIN and math.isfinite(plan.most)
    ]


def relative_to(reference: str) -> Callable[[list[Comparison]], list[Comparison]]:
    """Return what adds passes and seconds relative to a row of the same block, or of any."""

    def derive(rows: list[Comparison]) -> list[Comparison]:
        own = {row.block: row for row in rows if row.label == reference and row.means}
        found = []
        for row in rows:
            base = own.get(row.block) or next(iter(own.values()), None)
            more = {}
            for name in ("passes", "seconds"):
                if base is not None and base.means.get(name) and name in row.means:
                    more[f"{name} x"] = row.means[name] / base.means[name]
            found.append(replace(row, means=row.means | more))
        return found

    return derive


def methods_claims(_: Plan, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say whether the look is ahead of each other way of choosing, and cheaper."""
    lines = present([reference_ahead_of(found, name) for name in found if name != OWN])
    costs = {n: r.means["seconds x"] for n, r in found.items() if "seconds x" in r.means}
    others = {name: cost for name, cost in costs.items() if name not in LOOKS and name != PLAIN}
    if others:
        least = min(others, key=lambda name: others[name])
        text = f"the cheapest other method takes {others[least]:.2f} times as long: {least}"
        lines.append(Claim(text, others[least] >= 1))
    return lines


METHODS_TABLE = Table(
    "Ways of choosing", "top-1", (*USUAL, "passes x", "seconds x"), methods_rows, (OWN,),
    methods_claims, relative_to(OWN),
    note=f"times: relative to {OWN}. Methods that a budget does not hold are left out there, and "
    "measured without a limit.",
)  # fmt: skip


# How deep to look (Table 9).
DEPTHS: dict[str, dict[str, Any]] = {
    "depth 1": {"depth": 0}, "depth 4": {"depth": 3, "persist": True},
    "D": {"persist": False}, "D_max": {"persist": True},
}  # fmt: skip


def depth_rows(plan: Plan) -> list[Row]:
    """Return the rows: the first cells, three levels below, where the rules stop, and all."""
    return [
        Row(label, (Condition(name, options=options_of(search=search)),), name)
        for name in plan.looks
        for label, search in DEPTHS.items()
    ]


def all_rows_behind(_: Plan, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say whether the reference is ahead of each other row."""
    return present([reference_ahead_of(found, name) for name in found])


DEPTH = Table(
    "Depth", "top-1", (*USUAL, "depth", "seconds x"), depth_rows, ("D",), all_rows_behind,
    relative_to("D"),
    note="Without a limit of passes. D: refining ends when it no longer raises the importance; "
    "D_max: only when cells reach half a crop. depth: levels below the first cells that were "
    "reached: a scene that is no wider than a few crops has few.",
)  # fmt: skip


# What each part of the mechanism shows (Fig. 3).


def mechanism_rows(plan: Plan) -> list[Row]:
    """Return the methods with insertion and deletion, and the look that cuts every cell."""
    pixelwise = options_of(search={"persist": True})
    names = [name for name in plan.methods if not needs_query(name)]
    return [
        *(Row(name, (Condition(name, plan.most, curves=True),)) for name in names),
        *(
            Row(f"{name}, every cell", (Condition(name, options=pixelwise, curves=True),))
            for name in plan.looks
        ),
    ]


MECHANISM = Table(
    "What importance shows", "top-1",
    ("top-1", "pointing", "recall", "insertion blur", "deletion blur", "insertion mean",
     "deletion mean", "passes x", "seconds x"),
    mechanism_rows, (OWN,), all_rows_behind, relative_to(OWN),
    note="every cell: without a limit of passes, all cells are cut to the smallest, which stands "
    "for the paper's pixel-wise search. Insertion (higher is better) and deletion (lower is "
    "better) are areas under the probability of the label for the whole image as the model sees "
    "it, with blurred and with mean pixels elsewhere. " + f"times: relative to {OWN}.",
)  # fmt: skip


# Weights above the median scaled, regions masked (Fig. 5b).
AS_CHOSEN = "as chosen"
_PERTURBED = {AS_CHOSEN: "none", "top weights x 0.7": "weights", "10 % masked": "regions"}


def perturb_rows(plan: Plan) -> list[Row]:
    """Return the rows for each look."""
    return [
        Row(label, (Condition(name, plan.most, options=options_of(perturbed=how)),), name)
        for name in plan.looks
        for label, how in _PERTURBED.items()
    ]


PERTURB = Table(
    "Perturbed regions", "top-1", ("top-1", "top-5", "passes"), perturb_rows, (AS_CHOSEN,),
    all_rows_behind,
    note="The answer is the mean of the chosen regions, weighted by their importance. Where "
    "importance says what matters, accuracy falls.",
)  # fmt: skip


# Accuracy and cost (Fig. 6).
_MODES = ("zoom", "window", "feature")


def cost_rows(plan: Plan) -> list[Row]:
    """Return the model alone, and looks in each mode."""
    looks = [
        Row(f"{name}, {mode}", (Condition(name, plan.most, options=options_of(mode=mode)),))
        for name in plan.looks
        for mode in _MODES
    ]
    return [Row(PLAIN, (Condition(PLAIN),)), *looks]


def ahead_claims(_: Plan, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say whether each row is ahead of the reference."""
    return present([ahead_of_reference(found, name) for name in found])


COST = Table(
    "Accuracy and cost", "top-1", (*USUAL, "passes x", "seconds x"), cost_rows, (PLAIN,),
    ahead_claims, relative_to(PLAIN),
    note="times: relative to one pass over the whole image, squeezed into the model's input.",
)  # fmt: skip


# The share of the image that is kept (Fig. 1).
SHARES = (5, 10, 20, 30, 50, 70, 100)  # percent
_PATCHES = (2, 8)


def share_rows(plan: Plan) -> list[Row]:
    """Return the mean of the regions that matter most, by their share, on 2 x 2 and 8 x 8."""
    whole = (Condition(PLAIN),)
    rows = [Row(PLAIN, whole, f"{side} x {side}") for side in _PATCHES]
    for name in plan.looks:
        for side in _PATCHES:
            for share in SHARES:
                if share * side**2 < 100:  # not one patch
                    continue
                search = {"area": share / 100, "depth": 0, "regions": side**2}
                forms = {"answer": "fused", "coarse": "whole"}
                options = options_of(search=search, cells=side, forms=forms)
                label = f"{name}, {share} %"
                rows.append(Row(label, (Condition(name, options=options),), f"{side} x {side}"))
    return rows


SHARE = Table(
    "Share of the regions", "top-1",
    ("top-1", "top-5", "area", *(f"top-1: GSD {third}" for third in ("fine", "middle", "coarse"))),
    share_rows, (PLAIN,), ahead_claims,
    note="Patches of one grid, chosen by their importance; the answer is the mean of those that "
    "are kept. Thirds of the scenes by GSD only where all of them have one.",
)  # fmt: skip


# What regions hold of a labelled class.
AT_RANDOM = "random regions"
SALIENT = "overview saliency"


def regions_rows(plan: Plan) -> list[Row]:
    """Return the methods for each class that is looked for, once for each reference."""
    rows = []
    for i, target in enumerate(plan.sets):
        drawn = Condition("random-regions", plan.most, scenes=i, instead="random")
        found = {
            name: Condition(name, plan.most, told=needs_query(name), scenes=i)
            for name in plan.methods
        }
        rows.append(Row(AT_RANDOM, (drawn,), target))
        rows += [Row(name, (own,), target) for name, own in found.items()]
        for name, own in found.items():
            if not name.startswith("feature-norm"):
                block = f"{target}, sizes of {name}"
                rows.append(Row(SALIENT, (replace(own, instead="salient"),), block))
                rows.append(Row(name, (own,), block))
    return rows


def with_lift(rows: list[Comparison]) -> list[Comparison]:
    """Add how many times as much the regions hold as random ones: a ratio of means."""
    return [
        replace(row, means=row.means | {"lift": row.means["share"] / row.means["at random"]})
        if row.means.get("at random") else row
        for row in rows
    ]  # fmt: skip


REGIONS = Table(
    "Regions on labelled scenes", "gain",
    ("share", "at random", "lift", "area", "regions", "passes"),
    regions_rows, (AT_RANDOM, SALIENT), ahead_claims, with_lift,
    note="The share of the pixels of a class that lie in the chosen regions. At random: mean over "
    "200 sets of windows of the same number and sizes that do not overlap and are half labelled. "
    "Overview saliency: windows of the same number and sizes where the tokens of the overview are "
    "longest. Scenes without the class do not count.",
)  # fmt: skip


# Models with and without a look (Tables 1 and 8).


def main_rows(plan: Plan) -> list[Row]:
    """Return each model alone and with each look, on each set of scenes."""
    rows = []
    for i, scenes in enumerate(plan.sets):
        for k, model in enumerate(plan.models):
            block = f"{scenes}, {model}" if len(plan.sets) > 1 else model
            rows.append(Row(PLAIN, (Condition(PLAIN, model=k, scenes=i),), block))
            rows += [
                Row(f"+ {name}", (Condition(name, plan.most, model=k, scenes=i),), block)
                for name in plan.looks
            ]
    return rows


MAIN = Table(
    "Models with and without looks", "top-1", USUAL, main_rows, (PLAIN,), ahead_claims,
    note="The model alone sees the whole image, squeezed into its input: one pass.",
)  # fmt: skip

TABLES: dict[str, Table] = {
    "main": MAIN,
    "looks": LOOKS_TABLE,
    "components": COMPONENTS,
    "methods": METHODS_TABLE,
    "depth": DEPTH,
    "lambda": SWEEP,
    "mechanism": MECHANISM,
    "perturb": PERTURB,
    "cost": COST,
    "share": SHARE,
    "regions": REGIONS,
    "backbones": replace(MAIN, title="Backbones with and without looks"),
}
