"""Retrieval metrics: average precision and top-1 accuracy.

Average precision (Buckley and Voorhees 2000) is the mean, over the relevant rows, of the precision
at their ranks. For a list that is cut at K, three different definitions are in use:

    AP@K = sum over ranks i <= K of relevant_i * precision_i / Z
    Z    = min(K, n_rel)      "min", the default: 1 for a perfect list, for any K
         = hits in the top K  "hits": at least "min"; 1 for one hit at rank 1, whatever is missed
         = n_rel              "relevant": K / n_rel for a perfect list if K is smaller

Without a cut-off (k=None) they are equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.registry import check_choice
from foveate.seeds import tie_keys

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Normaliser = Literal["min", "hits", "relevant"]


class Retrieval(NamedTuple):
    """Average precision of several queries over the same rows.

    Attributes:
        per_concept: (C,) float64; NaN for concepts without a relevant row.
        mean: Mean over the other concepts; NaN if there are none.
    """

    per_concept: NDArray[np.float64]
    mean: float


def average_precision(
    scores: ArrayLike,
    relevant: ArrayLike,
    *,
    k: int | None = None,
    normaliser: Normaliser = "min",
    ties: NDArray[np.uint64] | None = None,
    seed: int = 0,
) -> float:
    """Compute the average precision of one query, over the whole list or its top K.

    Args:
        scores: (n,) scores, highest first; infinite scores are allowed.
        relevant: (n,) bool.
        k: Cut-off rank; None or above n: no cut-off.
        normaliser: Divisor of the sum of precisions; see the module docstring.
        ties: (n,) keys, see `foveate.seeds.tie_keys`; rows of equal score are ordered by key. None:
            keys of the row numbers under `seed`, so the order of ties depends on the order of rows.
        seed: Seed of these keys.

    Returns:
        0 to 1; NaN if no row is relevant; 0 if no relevant row is in the top K.

    Raises:
        ParameterError: k or the normaliser is not allowed.
        DataError: Shapes do not match, scores are NaN, relevance is not boolean.
    """
    s, r = np.asarray(scores, dtype=np.float64), np.asarray(relevant)
    if s.ndim != 1:
        raise DataError(f"scores of shape {s.shape}", "Expected the shape (n,) for one query.")
    keys = _checked(s, r, k=k, normaliser=normaliser, ties=ties, seed=seed)
    return _average_precision(s, r, k, normaliser, keys)


def mean_average_precision(
    scores: ArrayLike,
    relevant: ArrayLike,
    *,
    k: int | None = None,
    normaliser: Normaliser = "min",
    ties: NDArray[np.uint64] | None = None,
    seed: int = 0,
) -> Retrieval:
    """Compute the average precision of each concept, and the mean over the present concepts.

    Args:
        scores: (n, C) score of each row for each concept.
        relevant: (n, C) bool.
        k: See `average_precision`.
        normaliser: See `average_precision`.
        ties: (n,) keys of the rows, the same for all concepts.
        seed: See `average_precision`.

    Raises:
        ParameterError: See `average_precision`.
        DataError: See `average_precision`.
    """
    s, r = np.asarray(scores, dtype=np.float64), np.asarray(relevant)
    if s.ndim != 2:
        raise DataError(f"scores of shape {s.shape}", "Expected (rows, concepts).")
    keys = _checked(s, r, k=k, normaliser=normaliser, ties=ties, seed=seed)
    each = np.array(
        [_average_precision(s[:, c], r[:, c], k, normaliser, keys) for c in range(s.shape[1])],
        dtype=np.float64,
    )
    present = each[~np.isnan(each)]
    return Retrieval(each, float(present.mean()) if present.size else float("nan"))


def expected_average_precision(n: int, n_relevant: int, *, k: int | None = None) -> float:
    """Compute the mean of AP@K ("min") over all orders of n rows, the chance level.

    The row of rank i is relevant with probability m / n, and then each of the i - 1 rows above it
    is relevant with probability (m - 1) / (n - 1); the expected precision follows (Bestgen 2015).

    Args:
        n: Number of rows.
        n_relevant: Number m of relevant rows.
        k: Cut-off rank; None or above n: no cut-off.

    Returns:
        0 to 1; NaN if no row is relevant. Without cut-off it is slightly above the prevalence
        m / n; for K well above m it is about K / n times the prevalence.

    Raises:
        ParameterError: n, m or k is out of range.
    """
    if n < 1 or not 0 <= n_relevant <= n:
        raise ParameterError(
            f"{n_relevant} relevant of {n} rows",
            "n must be at least 1, and the number of relevant rows from 0 to n.",
        )
    top = min(n, _checked_k(k) or n)
    if n_relevant == 0:
        return float("nan")
    rank = np.arange(1, top + 1)
    above = (rank - 1) * (n_relevant - 1) / max(n - 1, 1)
    return float((n_relevant / n * (1 + above) / rank).sum() / min(top, n_relevant))


def prevalence_corrected(ap: ArrayLike, prevalence: ArrayLike) -> NDArray[np.float64]:
    """Correct the average precision for chance: (AP - prevalence) / (1 - prevalence).

    The AP of a random order of a long list is about the prevalence, so frequent concepts appear
    easy and rare concepts hard. After the correction chance is 0 and a perfect list is 1, like
    Cohen's kappa (1960). For AP@K, and for short lists, use `expected_average_precision` instead of
    the prevalence.

    Args:
        ap: (...) average precision; NaN is kept.
        prevalence: (...) share of relevant rows, or another chance level, 0 to 1.

    Returns:
        (...) float64, at most 1, negative below chance; NaN for a prevalence of 1.

    Raises:
        DataError: A prevalence is below 0 or above 1.
    """
    p = np.asarray(prevalence, dtype=np.float64)
    if ((p < 0) | (p > 1)).any():
        raise DataError(
            f"a prevalence from {np.nanmin(p):g} to {np.nanmax(p):g}",
            "A prevalence must be from 0 to 1.",
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        corrected = (np.asarray(ap, dtype=np.float64) - p) / (1 - p)
    return np.where(p < 1, corrected, np.nan)


def top1(logits: ArrayLike, truth: ArrayLike) -> float:
    """Compute the top-1 accuracy: the share of rows whose highest logit is that of the true class.

    If m classes tie for the highest logit, the true class among them, the row counts 1 / m, the
    mean over all orders of the tie.

    Args:
        logits: (n, C) scores, higher is more likely; infinite values are allowed.
        truth: (n,) integer class of each row, 0 to C - 1.

    Raises:
        DataError: There are no rows, shapes do not match, or values are NaN or not a class.
    """
    x, t = np.asarray(logits, dtype=np.float64), np.asarray(truth)
    if x.ndim != 2 or not x.size or t.shape != x.shape[:1]:
        raise DataError(
            f"logits of shape {x.shape} and classes of shape {t.shape}",
            "Expected the shapes (n, C) and (n,), n and C at least 1.",
        )
    _no_nan(x, "logits")
    if not np.issubdtype(t.dtype, np.integer) or t.min() < 0 or t.max() >= x.shape[1]:
        raise DataError(
            f"classes from {t.min()} to {t.max()} ({t.dtype})",
            f"Classes must be integers from 0 to {x.shape[1] - 1}.",
        )
    best = x == x.max(axis=1, keepdims=True)
    return float((best[np.arange(t.size), t] / best.sum(axis=1)).mean())


def _average_precision(
    scores: NDArray[np.float64],
    relevant: NDArray[np.bool_],
    k: int | None,
    normaliser: Normaliser,
    keys: NDArray[np.uint64],
) -> float:
    """Compute the average precision of one validated query."""
    n_relevant = int(relevant.sum())
    if n_relevant == 0:
        return float("nan")
    hit = relevant[np.lexsort((keys, -scores))][:k]
    hits = np.cumsum(hit)
    z = {"min": min(hit.size, n_relevant), "hits": int(hits[-1]), "relevant": n_relevant}
    precision = hits / np.arange(1, hit.size + 1)
    return float(precision[hit].sum() / max(z[normaliser], 1))


def _checked(
    scores: NDArray[np.float64],
    relevant: NDArray[np.generic],
    *,
    k: int | None,
    normaliser: str,
    ties: NDArray[np.uint64] | None,
    seed: int,
) -> NDArray[np.uint64]:
    """Validate the arguments of both functions, and return the (n,) keys."""
    _checked_k(k)
    check_choice("normaliser", normaliser, get_args(Normaliser))
    if relevant.shape != scores.shape:
        raise DataError(
            f"scores of shape {scores.shape} and relevance of shape {relevant.shape}",
            "The shapes must be the same.",
        )
    if relevant.dtype != np.bool_:
        raise DataError(
            f"relevance of type {relevant.dtype}",
            "Relevance must be boolean.",
            "Use a comparison such as shares > 0.",
        )
    _no_nan(scores, "scores")
    if ties is None:
        return tie_keys([str(row) for row in range(len(scores))], seed, "retrieval/ties")
    keys = np.asarray(ties)
    if keys.shape != scores.shape[:1]:
        raise DataError(
            f"{keys.shape} keys for {len(scores)} rows",
            "Expected one key per row.",
            "Compute keys with foveate.seeds.tie_keys.",
        )
    return keys


def _checked_k(k: int | None) -> int | None:
    if k is not None and k < 1:
        raise ParameterError(f"k={k}", "`k` must be at least 1, or None for no cut-off.")
    return k


def _no_nan(values: NDArray[np.float64], what: str) -> None:
    bad = int(np.isnan(values).sum())
    if bad:
        raise DataError(
            f"{bad} of {values.size} {what} are NaN",
            "Every row needs a score.",
            "Remove these rows, or set their scores to -inf to rank them last.",
        )
