"""Numbers of one cell, and what each group of test scenes has to do with them.

A mean average precision is of all test tiles at once; it has no value for each group of scenes
that could be resampled. The jackknife gives one: with theta over all G groups and theta_g without
group g, the pseudo-value of g is G theta - (G - 1) theta_g (Tukey 1958; Efron and Tibshirani 1993,
chapter 11). Pseudo-values are shifted so that their mean is theta itself, and the bootstrap of a
table draws groups with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.seeds import tie_keys
from foveate.stats import mean_average_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Statistic = Callable[[NDArray[np.bool_]], NDArray[np.float64]]

BLOCKS = 40  # groups beyond are joined: each costs all measures once more


@dataclass(frozen=True)
class Measure:
    """A number, what it is the mean of, and the share of each group in it.

    Attributes:
        value: Mean over the parts that there are; NaN if there are none.
        parts: One number a concept; or one.
        groups: Name of the group -> its shifted pseudo-value; their mean is `value`.
    """

    value: float
    parts: list[float]
    groups: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {"value": self.value, "parts": self.parts, "groups": self.groups}


def group_names(groups: Sequence[str]) -> list[str]:
    """Return the name of the group of each scene as it is resampled: no more than `BLOCKS`.

    The same groups have the same name under each seed, whichever of them are tested.
    """
    names = sorted(set(groups))
    if len(names) <= BLOCKS:
        return list(groups)
    number = {name: i % BLOCKS for i, name in enumerate(names)}
    return [f"block {number[group]:02d}" for group in groups]


def jackknife(groups: NDArray[np.str_], statistic: Statistic) -> Measure:
    """Work out a number and its pseudo-values.

    Args:
        groups: (n,) group of each row.
        statistic: From a mask of rows, (n,) bool, to (K,) numbers; NaN where there is none. It is
            not called with a mask of no rows.

    Returns:
        The mean over K. A number that a group alone makes possible counts as if the group made no
        difference to it.
    """
    names = np.unique(groups)
    if not names.size:
        return Measure(float("nan"), [], {})
    whole = np.asarray(statistic(np.ones(len(groups), bool)), np.float64)
    there = np.isfinite(whole)
    if not there.any():
        return Measure(float("nan"), whole.tolist(), {})
    value = float(whole[there].mean())
    if names.size == 1:
        return Measure(value, whole.tolist(), {str(names[0]): value})
    pseudo = []
    for name in names:
        without = np.asarray(statistic(groups != name), np.float64)
        without = np.where(np.isfinite(without), without, whole)[there]
        pseudo.append(float(value * names.size - without.mean() * (names.size - 1)))
    shift = value - float(np.mean(pseudo))
    return Measure(
        value, whole.tolist(),
        {str(n): p + shift for n, p in zip(names, pseudo, strict=True)},
    )  # fmt: skip


def precision(
    scores: NDArray[np.floating], relevant: NDArray[np.bool_], groups: NDArray[np.str_], *,
    k: int | None = None, seed: int = 0,
) -> Measure:  # fmt: skip
    """Mean average precision over concepts, or AP@K.

    Args:
        scores: (n, K).
        relevant: (n, K).
        groups: (n,).
        k: Rows at the top that count; all when None.
        seed: Of ties.
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
    """Return sum(above) / sum(below): a mean, a share; NaN where nothing is below."""

    def statistic(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        whole = float(below[kept].sum())
        return np.array([float(above[kept].sum()) / whole if whole > 0 else np.nan])

    return jackknife(groups, statistic)


def pooled(
    scores: NDArray[np.floating], relevant: NDArray[np.bool_], number: NDArray[np.int64], how: str
) -> tuple[NDArray[np.floating], NDArray[np.bool_], NDArray[np.int64]]:
    """Join rows to regions or scenes.

    Args:
        scores: (n, K).
        relevant: (n, K).
        number: (n,) of the region of each row.
        how: "max" or "mean" of the scores; what one row shows the region shows.

    Returns:
        (m, K) scores, (m, K) relevance, and (m,) a row of each region.
    """
    _, first, member = np.unique(number, return_index=True, return_inverse=True)
    shown = np.zeros((len(first), relevant.shape[1]), bool)
    np.logical_or.at(shown, member, relevant)
    if how == "max":
        found = np.full((len(first), scores.shape[1]), -np.inf)
        np.maximum.at(found, member, scores)
        return found, shown, first
    found = np.zeros((len(first), scores.shape[1]))
    np.add.at(found, member, scores)
    return found / np.bincount(member)[:, None], shown, first


def mean_of(found: Sequence[Measure]) -> Measure:
    """Return the mean of measures of the same groups: over draws of a random policy."""
    names = found[0].groups
    return Measure(
        float(np.mean([m.value for m in found])),
        np.mean([m.parts for m in found], axis=0).tolist(),
        {name: float(np.mean([m.groups[name] for m in found])) for name in names},
    )


def area(found: Sequence[Measure], shares: Sequence[float]) -> Measure:
    """Return the mean height of a curve over observed shares, by trapezoids.

    Args:
        found: One measure a share, of the same groups.
        shares: Rising.
    """

    def height(values: Sequence[float]) -> float:
        return float(np.trapezoid(values, shares) / (shares[-1] - shares[0]))

    parts = np.array([m.parts for m in found], np.float64)
    return Measure(
        height([m.value for m in found]),
        [height(column.tolist()) for column in parts.T],
        {name: height([m.groups[name] for m in found]) for name in found[0].groups},
    )
