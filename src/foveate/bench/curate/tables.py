"""Comparison of the methods with random at each budget, from the measures of conditions.

One family of comparisons is one budget: the rows of both samplers, each compared to random with
the same sampler (`foveate.bench.compare`: paired by seed and cluster, Holm over the family). The
noise floor is the standard deviation over seeds of trainings on one fixed set.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from foveate.bench.compare import compare
from foveate.bench.conditions import Row, Table
from foveate.bench.curate.conditions import ALL, FLOOR, condition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.bench.compare import Results
    from foveate.bench.curate.conditions import Sampler

REFERENCE = "random"


def rows_at(
    share: float, methods: Sequence[str], samplers: Sequence[Sampler], *, floor: bool = True
) -> list[Row]:
    """Return the rows of one budget: all tiles, every method, and one fixed set for all seeds.

    Args:
        share: The budget.
        methods: Names.
        samplers: The samplers.
        floor: Whether to add a row of the fixed set; without redrawing, random is that row.
    """
    names = [ALL] if share >= 1 else [ALL, *methods, *([FLOOR] if floor else ())]
    return [
        Row(name, (condition(name, 1.0 if name == ALL else share, sampler),), sampler)
        for sampler in samplers
        for name in names
    ]


def compared(
    shares: Sequence[float], methods: Sequence[str], samplers: Sequence[Sampler], results: Results,
    *, classes: Sequence[str], seed: int, floor: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """Compare the rows of each budget.

    Args:
        shares: Budgets as shares of the tiles, ascending.
        methods: Names, including random.
        samplers: The samplers.
        results: For each seed, condition -> measures by name, or the reason it was skipped.
        classes: Names of the classes.
        seed: Seed of the bootstrap.
        floor: As for `rows_at`.

    Returns:
        One entry per budget, JSON-ready: "share", "rows" (see `Comparison`), "floor" (sampler ->
        standard deviation of the mIoU of the fixed set), "balance" (random with a balanced sampler
        compared to random without, or None).
    """
    found = []
    for share in shares:
        rows = rows_at(share, methods, samplers, floor=floor)
        table = _table(rows, classes, REFERENCE if share < 1 else ALL)
        made, _ = compare(table, rows, results, seed=seed)
        fixed = FLOOR if floor else REFERENCE
        noise = {r.block: r.sds.get("miou", float("nan")) for r in made if r.label == fixed}
        kept = [asdict(r) for r in made if r.label != FLOOR]
        found.append({
            "share": share, "rows": kept, "floor": noise,
            "balance": _balance(share, samplers, results, classes, seed),
        })  # fmt: skip
    return found


def cells(
    shares: Sequence[float], methods: Sequence[str], samplers: Sequence[Sampler], results: Results,
    *, judge: str, first: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return every measurement as a row: method, budget (percent), seed, judge, sampler, miou.

    At 100 % every method has the values of all tiles.
    """
    found = []
    for number, measured in enumerate(results):
        for sampler in samplers:
            for share in dict.fromkeys([*shares, 1.0]):
                names = [ALL, *methods] if share >= 1 else methods
                for method in names:
                    known = measured[condition(method, share, sampler)]
                    if isinstance(known, str):
                        continue
                    found.append({
                        "method": method, "budget": round(100 * share, 6), "seed": first + number,
                        "judge": judge, "sampler": sampler,
                        **{_key(name): value.value for name, value in known.items()},
                    })  # fmt: skip
    return found


def skipped(results: Results) -> dict[str, str]:
    """Return method -> reason it was not measured."""
    return {
        c.method: reason
        for measured in results
        for c, reason in measured.items()
        if isinstance(reason, str)
    }


def conditions_of(
    shares: Sequence[float], methods: Sequence[str], samplers: Sequence[Sampler], *,
    floor: bool = True,
) -> list[Row]:  # fmt: skip
    """Return the rows of all budgets; see `rows_at`."""
    return [row for share in shares for row in rows_at(share, methods, samplers, floor=floor)]


def _table(rows: list[Row], classes: Sequence[str], reference: str) -> Table:
    each = (f"iou {name}" for name in classes)
    columns = ("miou", "miou per image", *each, "tiles", "select s", "fit s", "epoch s", "train s")
    return Table(
        "", "miou", columns, lambda _: rows, (reference,), lambda *_: [],
    )  # fmt: skip


def _balance(
    share: float, samplers: Sequence[Sampler], results: Results, classes: Sequence[str], seed: int
) -> dict[str, Any] | None:
    """Compare the samplers on random tiles: the effect of class balance alone."""
    if set(samplers) != {"none", "balanced"}:
        return None
    name = ALL if share >= 1 else REFERENCE
    rows = [Row(s, (condition(name, share, s),)) for s in ("none", "balanced")]
    made, _ = compare(_table(rows, classes, "none"), rows, results, seed=seed)
    return asdict(made[1])


def _key(name: str) -> str:
    return name.replace(" ", "_") if not name.startswith("iou ") else name
