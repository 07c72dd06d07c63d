"""Comparison of the rows of a table over seeds: means, paired differences, and verdicts.

The difference of a row from its reference is paired by seed and by group of test scenes, with the
pseudo-values of `foveate.stats.measures`. The bootstrap draws whole groups (the same ground under
two seeds is one cluster). p-values are adjusted by Holm's method over all rows of the table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.stats import Difference, holm, paired_bootstrap, verdict
from foveate.stats.measures import Measure, area

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.bench.conditions import Row, Table, Verdict

    Measures = Mapping[str, Measure]
    Results = Sequence[Mapping[Any, Measures | str]]

DRAWS = 10_000  # with 2,000 draws, Holm's adjustment over 40 rows leaves no small p-value
FEW = 20  # clusters; with fewer, intervals are too narrow
FALLBACK = "quality"  # the leading measure without labels


@dataclass(frozen=True)
class Comparison:
    """A row with its figures.

    Attributes:
        label: Name of the row.
        block: Rows of a block are compared with each other.
        means: Measure -> mean over seeds.
        sds: Measure -> standard deviation over seeds; 0 for one seed.
        reference: Label of the reference row.
        difference: Difference from the reference in the leading measure; None for the reference
            itself, and if all test scenes are one group.
        p: p-value adjusted by Holm's method; None without a difference.
        clusters: Number of groups that the bootstrap draws.
        verdict: "better", "worse", "tied" (the interval contains 0), "open" (it does not, but
            Holm's method does not reject, or there are fewer than `FEWEST` clusters),
            "reference", or "".
        skipped: Reason why the row was not measured; it then has no figures.
        seeds: Measure -> number of seeds with a value, for measures without a value (NaN) for some;
            their means and standard deviations are over these seeds.
    """

    label: str
    block: str
    means: dict[str, float] = field(default_factory=dict)
    sds: dict[str, float] = field(default_factory=dict)
    reference: str = ""
    difference: Difference | None = None
    p: float | None = None
    clusters: int = 0
    verdict: Verdict = ""
    skipped: str = ""
    seeds: dict[str, int] = field(default_factory=dict)


def compare(
    table: Table, rows: Sequence[Row], results: Results, *, seed: int = 0
) -> tuple[list[Comparison], str]:
    """Compare the rows of a table with their references.

    Args:
        table: The table.
        rows: Its rows.
        results: For each seed, condition -> measures by name, or the reason why it was skipped.
        seed: Seed of the bootstrap.

    Returns:
        The compared rows, and the leading measure: that of the table, or `FALLBACK`.
    """
    by_seed = {row: _of_seeds(row, results) for row in rows}
    measured = [m for seeds in by_seed.values() if not isinstance(seeds, str) for m in seeds]
    lead = table.lead if any(table.lead in m for m in measured) else FALLBACK
    if table.lead == "area":
        lead = "area"
    compared = {row: _row(row, seeds) for row, seeds in by_seed.items()}
    references: dict[str, Row] = {}
    for row in rows:
        named = row.label in table.references or not (table.references or row.block in references)
        if named and lead in compared[row].means:
            best = references.get(row.block)
            if best is None or _level(compared[row], lead) > _level(compared[best], lead):
                references[row.block] = row
    for row in rows:
        reference = references.get(row.block)
        if reference is None or compared[row].skipped:
            continue
        if row is reference:
            compared[row] = replace(compared[row], verdict="reference")
            continue
        difference, clusters = _difference(by_seed[row], by_seed[reference], lead, seed)
        compared[row] = replace(
            compared[row], reference=reference.label, difference=difference, clusters=clusters
        )
    return _with_verdicts(list(compared.values())), lead


def _of_seeds(row: Row, results: Results) -> list[Measures] | str:
    """Return the measures of a row under each seed, or the reason why it was skipped."""
    kept: list[Measures] = []
    for measures in results:
        measured = [measures[condition] for condition in row.conditions]
        reason = next((m for m in measured if isinstance(m, str)), None)
        if reason is not None:
            return reason
        kept.append(_joined(row, measured))  # ty: ignore[invalid-argument-type]
    return kept


def _joined(row: Row, measured: Sequence[Measures]) -> Measures:
    """Return the measures of one condition; for a curve, its heights and its area."""
    if len(row.conditions) == 1:
        return measured[0]
    name = "tiles" if all("tiles" in m for m in measured) else FALLBACK
    shares = [condition.share for condition in row.conditions]
    curve = {f"@{s:g}": m[name] for s, m in zip(shares, measured, strict=True)}
    curve["area"] = area([m[name] for m in measured], shares)
    if all("captured" in m for m in measured):
        curve["captured"] = area([m["captured"] for m in measured], shares)
    return curve


def _row(row: Row, measured: list[Measures] | str) -> Comparison:
    if isinstance(measured, str):
        return Comparison(row.label, row.block, skipped=measured)
    names = [name for name in measured[0] if all(name in m for m in measured)]
    values = {name: np.array([m[name].value for m in measured]) for name in names}
    known = {name: v[np.isfinite(v)] for name, v in values.items() if np.isfinite(v).any()}
    return Comparison(
        row.label, row.block,
        means={name: float(v.mean()) for name, v in known.items()},
        sds={name: float(v.std(ddof=1)) if v.size > 1 else 0.0 for name, v in known.items()},
        seeds={name: v.size for name, v in known.items() if v.size < len(measured)},
    )  # fmt: skip


def _level(row: Comparison, lead: str) -> tuple[float, float]:
    """Return the order of references: those with a value for all seeds first, then by the mean."""
    return row.seeds.get(lead, math.inf), row.means[lead]


def _difference(
    row: list[Measures] | str, reference: list[Measures] | str, lead: str, seed: int
) -> tuple[Difference | None, int]:
    """Return the paired difference, and the number of its clusters."""
    if isinstance(row, str) or isinstance(reference, str):
        return None, 0
    a, b, clusters = [], [], []
    for one, two in zip(row, reference, strict=True):
        if lead not in one or lead not in two:
            continue
        for group in one[lead].groups.keys() & two[lead].groups.keys():
            a.append(one[lead].groups[group])
            b.append(two[lead].groups[group])
            clusters.append(group)
    count = len(set(clusters))
    if count < 2:
        return None, count
    order = np.argsort(clusters, kind="stable")  # the order of sets is arbitrary
    pair = (np.array(a)[order], np.array(b)[order], np.array(clusters)[order])
    return paired_bootstrap(*pair, draws=DRAWS, seed=seed), count


def _with_verdicts(rows: list[Comparison]) -> list[Comparison]:
    """Return the rows with adjusted p-values and verdicts."""
    compared = [(i, row.difference) for i, row in enumerate(rows) if row.difference is not None]
    adjusted = holm([difference.p for _, difference in compared]).tolist()
    for (i, difference), p in zip(compared, adjusted, strict=True):
        rows[i] = replace(rows[i], p=p, verdict=verdict(difference, p, rows[i].clusters))
    return rows
