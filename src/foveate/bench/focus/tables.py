"""Tables of results for `focus`: looks compared with baselines, and settings of looks."""

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
    """Return the methods other than looks."""
    return tuple(name for name in METHODS if name not in LOOKS)


# Default methods of the tables: those of the paper, and the strongest simple ones.
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
    """Content of a table.

    Attributes:
        methods: Names of methods.
        passes: Budgets in increasing order.
        models: Names of the models.
        sets: Names of the sets of scenes.
        classes: Whether there are classes; without, the recall of planted windows leads.
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
        """The looks among the methods that do not need a query."""
        return [name for name in self.methods if name in LOOKS and not needs_query(name)]

    @property
    def most(self) -> float:
        """The largest budget."""
        return self.passes[-1]


def table_for(name: str, plan: Plan) -> Table:
    """Return a table for a plan.

    Without classes another measure leads. Kinds of scenes are columns. If the table names no
    reference, the reference is the best method that is not a look.

    Args:
        name: Name in `TABLES`.
        plan: Content of the table.
    """
    table = TABLES[name]
    lead = "recall" if table.lead == "top-1" and not plan.classes else table.lead
    kinds = [f"{measure}: {kind}" for measure in BY_KIND for kind in plan.kinds]
    columns = dict.fromkeys([lead, *table.columns, *(kinds if len(plan.kinds) > 1 else ())])
    references = table.references or baselines()
    return replace(table, lead=lead, columns=tuple(columns), references=references)


def stages_of(name: str) -> tuple[Any, ...]:
    """Return functions that add rows to a table after the measurement of earlier rows.

    Each is called with the plan, the rows so far, their results and the leading measure.
    """
    return STAGES if name == "lambda" else ()


def title_of(measure: str) -> str:
    """Return the displayed name of a measure."""
    name, colon, part = measure.partition(": ")
    title = TITLES.get(name, name)
    return f"{title}, {part}" if colon else title


def budget(passes: float) -> str:
    """Return a budget in words."""
    return "no limit" if math.isinf(passes) else f"{passes:g} passes"


# Accuracy against passes.


def looks_rows(plan: Plan) -> list[Row]:
    """Return a row per method and budget; methods with a query are in separate blocks."""
    blocks = [(False, "{}"), (True, "{}, told what to find")]
    return [
        Row(name, (Condition(name, passes, with_query=with_query),), block.format(budget(passes)))
        for with_query, block in blocks
        for passes in plan.passes
        for name in plan.methods
        if needs_query(name) == with_query
    ]


def looks_claims(_: Plan, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare the looks with the best baseline of each budget."""
    names = [name for name, row in compared.items() if row.label in LOOKS]
    return present([ahead_of_reference(compared, name) for name in names])


LOOKS_TABLE = Table(
    "Looks against passes", "top-1", (*USUAL, "area", "epsilon"), looks_rows, (),
    looks_claims,
    note="Rows of one budget are compared with the best baseline of that budget, selected by the "
    "displayed figures. epsilon: relative difference of the losses of the regions and the image. "
    "recall@K: regions count up to K times the area of a planted window. seconds: time of the "
    "method, plus the time of a pass in a batch for each pass; without reading pixels.",
)  # fmt: skip


# Ablation of the scores (Table 3).
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
            off = {score: 0.0 for score in _SCORES if score not in on}
            paper = {"representativeness": 0.7, "robustness": 0.65, "synergy": 0.8}
            weights = off | {score: paper[score] for score in on}
            options = options_of(weights=weights, robust="robustness" in on)
            label = " + ".join(["ut", *(_SHORT[score] for score in _SCORES if score in on)])
            rows.append(Row(label, (Condition(name, plan.most, options=options),), name))
    return rows


def components_claims(plan: Plan, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare all scores together with each subset of them."""
    names = [name for look in plan.looks for name in compared if name.startswith(f"{look}: ")]
    return present([reference_ahead_of(compared, name) for name in names])


COMPONENTS = Table(
    "Scores of the importance", "top-1", USUAL, components_rows, (FULL,), components_claims,
    note="ut: utility, always included; re: representativeness, ro: robustness, sy: synergy, with "
    "the weights of the paper. The robustness takes passes of the same budget.",
)  # fmt: skip


# Other selection methods, with their cost (Table 6).


def methods_rows(plan: Plan) -> list[Row]:
    """Return a row per method at the largest budget, and baselines also without a limit."""
    names = [name for name in plan.methods if not needs_query(name)]
    return [Row(name, (Condition(name, plan.most),)) for name in dict.fromkeys((OWN, *names))] + [
        Row(f"{name}, {budget(math.inf)}", (Condition(name),))
        for name in names
        if name not in LOOKS and name != PLAIN and math.isfinite(plan.most)
    ]


def relative_to(reference: str) -> Callable[[list[Comparison]], list[Comparison]]:
    """Return a function that adds passes and seconds relative to a reference row.

    The reference is that of the same block, else the first one.
    """

    def derive(rows: list[Comparison]) -> list[Comparison]:
        references = {row.block: row for row in rows if row.label == reference and row.means}
        derived = []
        for row in rows:
            base = references.get(row.block) or next(iter(references.values()), None)
            ratios = {}
            for name in ("passes", "seconds"):
                if base is not None and base.means.get(name) and name in row.means:
                    ratios[f"{name} x"] = row.means[name] / base.means[name]
            derived.append(replace(row, means=row.means | ratios))
        return derived

    return derive


def methods_claims(_: Plan, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare the look with each other method, in accuracy and time."""
    lines = present([reference_ahead_of(compared, name) for name in compared if name != OWN])
    costs = {n: r.means["seconds x"] for n, r in compared.items() if "seconds x" in r.means}
    others = {name: cost for name, cost in costs.items() if name not in LOOKS and name != PLAIN}
    if others:
        least = min(others, key=lambda name: others[name])
        text = f"the cheapest other method takes {others[least]:.2f} times as long: {least}"
        lines.append(Claim(text, others[least] >= 1))
    return lines


METHODS_TABLE = Table(
    "Selection methods", "top-1", (*USUAL, "passes x", "seconds x"), methods_rows, (OWN,),
    methods_claims, relative_to(OWN),
    note=f"times: relative to {OWN}. Methods that exceed the budget are skipped, and measured "
    "without a limit.",
)  # fmt: skip


# Depth of the search (Table 9).
DEPTHS: dict[str, dict[str, Any]] = {
    "depth 1": {"depth": 0}, "depth 4": {"depth": 3, "persist": True},
    "D": {"persist": False}, "D_max": {"persist": True},
}  # fmt: skip


def depth_rows(plan: Plan) -> list[Row]:
    """Return the rows: the first cells, three more levels, the stopping rule, and all levels."""
    return [
        Row(label, (Condition(name, options=options_of(search=search)),), name)
        for name in plan.looks
        for label, search in DEPTHS.items()
    ]


def all_rows_behind(_: Plan, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare the reference with each other row."""
    return present([reference_ahead_of(compared, name) for name in compared])


DEPTH = Table(
    "Depth", "top-1", (*USUAL, "depth", "seconds x"), depth_rows, ("D",), all_rows_behind,
    relative_to("D"),
    note="Without a limit on passes. D: refinement ends when it no longer raises the importance; "
    "D_max: when all cells are as small as half a crop. depth: levels below the first cells; a "
    "scene of few crops has few levels.",
)  # fmt: skip


# Faithfulness of the importance (Fig. 3).


def mechanism_rows(plan: Plan) -> list[Row]:
    """Return the methods with insertion and deletion, and looks that refine every cell."""
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
    "Faithfulness of the importance", "top-1",
    ("top-1", "pointing", "recall", "insertion blur", "deletion blur", "insertion mean",
     "deletion mean", "passes x", "seconds x"),
    mechanism_rows, (OWN,), all_rows_behind, relative_to(OWN),
    note="every cell: without a limit on passes, all cells are refined to the smallest, in place "
    "of the pixel-wise search of the paper. Insertion (higher is better) and deletion (lower is "
    "better) are areas under the curve of the probability of the label, for the image downsampled "
    "to the model's input, with blurred or mean pixels as replacement. "
    f"times: relative to {OWN}.",
)  # fmt: skip


# Perturbation: weights above the median are scaled, regions masked (Fig. 5b).
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
    note="The prediction is that of the mean of the selected regions, weighted by their "
    "importance. If the importance is faithful, the accuracy falls.",
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


def ahead_claims(_: Plan, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare each row with the reference."""
    return present([ahead_of_reference(compared, name) for name in compared])


COST = Table(
    "Accuracy and cost", "top-1", (*USUAL, "passes x", "seconds x"), cost_rows, (PLAIN,),
    ahead_claims, relative_to(PLAIN),
    note="times: relative to one pass over the whole image, downsampled to the model's input.",
)  # fmt: skip


# The share of the selected regions (Fig. 1).
SHARES = (5, 10, 20, 30, 50, 70, 100)  # percent
_PATCHES = (2, 8)


def share_rows(plan: Plan) -> list[Row]:
    """Return the mean of the most important patches by their share, of 2 x 2 and 8 x 8 patches."""
    whole = (Condition(PLAIN),)
    rows = [Row(PLAIN, whole, f"{side} x {side}") for side in _PATCHES]
    for name in plan.looks:
        for side in _PATCHES:
            for share in SHARES:
                if share * side**2 < 100:  # less than one patch
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
    note="Patches of one grid, selected by their importance; the prediction is that of the mean of "
    "the selected patches. Thirds of the scenes by GSD are reported if all GSDs are known.",
)  # fmt: skip


# The share of a labelled class in the regions.
AT_RANDOM = "random regions"
SALIENT = "overview saliency"


def regions_rows(plan: Plan) -> list[Row]:
    """Return the methods for each target class, once for each reference."""
    rows = []
    for i, target in enumerate(plan.sets):
        drawn = Condition("random-regions", plan.most, scenes=i, instead="random")
        conditions = {
            name: Condition(name, plan.most, with_query=needs_query(name), scenes=i)
            for name in plan.methods
        }
        rows.append(Row(AT_RANDOM, (drawn,), target))
        rows += [Row(name, (condition,), target) for name, condition in conditions.items()]
        for name, condition in conditions.items():
            if not name.startswith("feature-norm"):
                block = f"{target}, sizes of {name}"
                rows.append(Row(SALIENT, (replace(condition, instead="salient"),), block))
                rows.append(Row(name, (condition,), block))
    return rows


def with_lift(rows: list[Comparison]) -> list[Comparison]:
    """Add the ratio of the mean shares of the regions and of random ones."""
    return [
        replace(row, means=row.means | {"lift": row.means["share"] / row.means["at random"]})
        if row.means.get("at random") else row
        for row in rows
    ]  # fmt: skip


REGIONS = Table(
    "Regions on labelled scenes", "gain",
    ("share", "at random", "lift", "area", "regions", "passes"),
    regions_rows, (AT_RANDOM, SALIENT), ahead_claims, with_lift,
    note="share: share of the pixels of a class inside the selected regions. At random: mean over "
    "200 sets of windows of the same number and sizes, without overlap and at least half labelled. "
    "Overview saliency: windows of the same number and sizes where the norm of the tokens of the "
    "overview is largest. Scenes without the class are excluded.",
)  # fmt: skip


# Models with and without a look (Tables 1 and 8).


def main_rows(plan: Plan) -> list[Row]:
    """Return rows of each model alone and with each look, on each set of scenes."""
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
    note="The model alone: one pass over the whole image, downsampled to its input.",
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
