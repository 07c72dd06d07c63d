"""Measures of one condition, with the contribution of each group of test scenes.

A mean average precision is computed over all test tiles at once; it has no value per group of
scenes that could be resampled. The jackknife provides such values: with theta over all G groups and
theta_g without group g, the pseudo-value of g is G theta - (G - 1) theta_g (Tukey 1958; Efron and
Tibshirani 1993, chapter 11). Pseudo-values are shifted so that their mean is theta; the bootstrap
of a table resamples groups with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.registry import check_choice
from foveate.seeds import tie_keys
from foveate.stats import mean_average_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Statistic = Callable[[NDArray[np.bool_]], NDArray[np.float64]]

BLOCKS = 40  # maximum groups; more are merged, since each group needs one more evaluation


@dataclass(frozen=True)
class Measure:
    """A value, its parts, and the contribution of each group.

    Attributes:
        value: Mean over the finite parts; NaN if there are none.
        parts: One number per concept, or a single number.
        groups: Name of the group -> shifted pseudo-value; their mean is `value`.
    """

    value: float
    parts: list[float]
    groups: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {"value": self.value, "parts": self.parts, "groups": self.groups}


def group_names(groups: Sequence[str]) -> list[str]:
    """Return the resampling group of each scene; groups are merged to at most `BLOCKS`.

    The names do not depend on the seed, or on which groups are in the test split.
    """
    names = sorted(set(groups))
    if len(names) <= BLOCKS:
        return list(groups)
    number = {name: i % BLOCKS for i, name in enumerate(names)}
    return [f"block {number[group]:02d}" for group in groups]


def jackknife(groups: NDArray[np.str_], statistic: Statistic) -> Measure:
    """Compute a statistic and its jackknife pseudo-values.

    Args:
        groups: (n,) group of each row.
        statistic: Function from a mask of rows, (n,) bool, to (K,) numbers; NaN if undefined. It is
            not called with an empty mask.

    Returns:
        The mean over K. A number that is undefined without a group is treated as unchanged by the
        group.
    """
    names = np.unique(groups)
    if not names.size:
        return Measure(float("nan"), [], {})
    parts = np.asarray(statistic(np.ones(len(groups), bool)), np.float64)
    defined = np.isfinite(parts)
    if not defined.any():
        return Measure(float("nan"), parts.tolist(), {})
    value = float(parts[defined].mean())
    if names.size == 1:
        return Measure(value, parts.tolist(), {str(names[0]): value})
    pseudo = []
    for name in names:
        without = np.asarray(statistic(groups != name), np.float64)
        without = np.where(np.isfinite(without), without, parts)[defined]
        pseudo.append(float(value * names.size - without.mean() * (names.size - 1)))
    shift = value - float(np.mean(pseudo))
    return Measure(
        value, parts.tolist(),
        {str(n): p + shift for n, p in zip(names, pseudo, strict=True)},
    )  # fmt: skip


def precision(
    scores: NDArray[np.floating], relevant: NDArray[np.bool_], groups: NDArray[np.str_], *,
    k: int | None = None, seed: int = 0,
) -> Measure:  # fmt: skip
    """Compute the mean average precision over concepts, or AP@K.

    Args:
        scores: (n, K).
        relevant: (n, K) bool.
        groups: (n,) group of each row.
        k: Cut-off rank; None: no cut-off.
        seed: Seed of ties.
    """
    ties = tie_keys([str(row) for row in range(len(scores))], seed, "retrieval/ties")

    def statistic(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        return mean_average_precision(
            scores[kept], relevant[kept], k=k, ties=ties[kept]
        ).per_concept

    return jackknife(groups, statistic)


def ratio(
    above: NDArray[np.floating], below: NDArray[np.floating], groups: NDArray[np.str_]
) -> Measure:
    """Compute sum(above) / sum(below), a mean or share; NaN if the denominator is 0."""

    def statistic(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        total = float(below[kept].sum())
        return np.array([float(above[kept].sum()) / total if total > 0 else np.nan])

    return jackknife(groups, statistic)


def pooled(
    scores: NDArray[np.floating], relevant: NDArray[np.bool_], number: NDArray[np.int64], how: str
) -> tuple[NDArray[np.floating], NDArray[np.bool_], NDArray[np.int64]]:
    """Pool rows to regions or scenes.

    Args:
        scores: (n, K).
        relevant: (n, K) bool.
        number: (n,) number of the region of each row.
        how: "max" or "mean" of the scores; a region is relevant if any of its rows is.

    Returns:
        (m, K) scores, (m, K) relevance, and (m,) the first row of each region.

    Raises:
        ParameterError: `how` is unknown.
    """
    check_choice("how", how, ("max", "mean"))
    _, first, member = np.unique(number, return_index=True, return_inverse=True)
    pooled_relevant = np.zeros((len(first), relevant.shape[1]), bool)
    np.logical_or.at(pooled_relevant, member, relevant)
    if how == "max":
        maxima = np.full((len(first), scores.shape[1]), -np.inf)
        np.maximum.at(maxima, member, scores)
        return maxima, pooled_relevant, first
    sums = np.zeros((len(first), scores.shape[1]))
    np.add.at(sums, member, scores)
    return sums / np.bincount(member)[:, None], pooled_relevant, first


def mean_of(measures: Sequence[Measure]) -> Measure:
    """Return the mean of measures over their common groups, e.g. of draws of a random policy."""
    return Measure(
        float(np.mean([m.value for m in measures])),
        np.mean([m.parts for m in measures], axis=0).tolist(),
        {name: float(np.mean([m.groups[name] for m in measures])) for name in _common(measures)},
    )


def area(measures: Sequence[Measure], shares: Sequence[float]) -> Measure:
    """Return the normalised area under a curve over observed ratios, by the trapezoidal rule.

    Args:
        measures: One measure per ratio; their common groups are kept, none if a value is NaN.
        shares: Observed ratios, increasing.
    """

    def height(values: Sequence[float]) -> float:
        return float(np.trapezoid(values, shares) / (shares[-1] - shares[0]))

    parts = np.array([m.parts for m in measures], np.float64)
    return Measure(
        height([m.value for m in measures]),
        [height(column.tolist()) for column in parts.T],
        {name: height([m.groups[name] for m in measures]) for name in _common(measures)},
    )


def _common(measures: Sequence[Measure]) -> list[str]:
    """Return the groups of all measures; a measure that is NaN has none."""
    return [name for name in measures[0].groups if all(name in m.groups for m in measures)]
