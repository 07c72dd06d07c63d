"""How well scores bring what is relevant to the top of a list.

Average precision (Buckley and Voorhees 2000) is the mean, over the relevant rows, of the precision
at their ranks. Of a list that is cut at K, three means are in use, and they differ:

    AP@K = sum over ranks i <= K of relevant_i * precision_i / Z
    Z    = min(K, n_rel)      "min", the default: a perfect list has 1, whatever K is
         = hits in the top K  "hits": never below "min"; one hit at rank 1 has 1, whatever is missed
         = n_rel              "relevant": a perfect list has K / n_rel if K is smaller

All three are one number where the list is whole (k=None).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.seeds import tie_keys

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Normaliser = Literal["min", "hits", "relevant"]


class Retrieval(NamedTuple):
    """Average precision of several queries over the same rows.

    Attributes:
        per_concept: (C,) float64; NaN for concepts without a relevant row.
        mean: Mean over the others; NaN if there are none.
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
    """Average precision of one query, over the whole list or its top K.

    Args:
        scores: (n,) the higher, the earlier; infinite scores are allowed.
        relevant: (n,) bool.
        k: Rows at the top that count; all when None or above n.
        normaliser: What the sum of precisions is divided by; see the head of this file.
        ties: (n,) keys, see `foveate.seeds.tie_keys`: of equal scores the row with the smaller
            key comes first. When None, the keys of the row numbers under `seed`; then equal
            scores come in another order if the rows do.
        seed: Seed of these keys.

    Returns:
        0 to 1; NaN if no row is relevant. 0 if rows are relevant and none is in the top K.

    Raises:
        ParameterError: k or the normaliser is not one.
        DataError: Shapes do not match, scores are NaN, relevance is not boolean.
    """
    s, r = np.asarray(scores, dtype=np.float64), np.asarray(relevant)
    if s.ndim != 1:
        raise DataError(f"scores of shape {s.shape}", "One query has one score a row: (n,).")
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
    """Average precision of each concept, and its mean over the concepts that are present.

    Args:
        scores: (n, C) score of each row for each concept.
        relevant: (n, C) bool.
        k: As in `average_precision`.
        normaliser: As in `average_precision`.
        ties: (n,) keys of the rows, the same for all concepts.
        seed: As in `average_precision`.

    Raises:
        ParameterError: As in `average_precision`.
        DataError: As in `average_precision`.
    """
    s, r = np.asarray(scores, dtype=np.float64), np.asarray(relevant)
    if s.ndim != 2:
        raise DataError(f"scores of shape {s.shape}", "They are rows by concepts: (n, C).")
    keys = _checked(s, r, k=k, normaliser=normaliser, ties=ties, seed=seed)
    each = np.array(
        [_average_precision(s[:, c], r[:, c], k, normaliser, keys) for c in range(s.shape[1])],
        dtype=np.float64,
    )
    known = each[~np.isnan(each)]
    return Retrieval(each, float(known.mean()) if known.size else float("nan"))


def expected_average_precision(n: int, n_relevant: int, *, k: int | None = None) -> float:
    """Mean of AP@K ("min") over all orders of n rows: what chance gives.

    Rank i holds a relevant row with probability m / n, and then each of the i - 1 rows above it
    is relevant with probability (m - 1) / (n - 1); the expected precision follows (Bestgen 2015).

    Args:
        n: Rows.
        n_relevant: Relevant rows among them, m.
        k: Rows at the top that count; all when None or above n.

    Returns:
        0 to 1; NaN if no row is relevant. For the whole list it is slightly above the prevalence
        m / n; for K well above m it is about K / n times the prevalence.

    Raises:
        ParameterError: n, m or k is not possible.
    """
    if n < 1 or not 0 <= n_relevant <= n:
        raise ParameterError(
            f"{n_relevant} relevant of {n} rows", "There is at least one row, and no more relevant."
        )
    top = min(n, _checked_k(k) or n)
    if n_relevant == 0:
        return float("nan")
    rank = np.arange(1, top + 1)
    above = (rank - 1) * (n_relevant - 1) / max(n - 1, 1)
    return float((n_relevant / n * (1 + above) / rank).sum() / min(top, n_relevant))


def prevalence_corrected(ap: ArrayLike, prevalence: ArrayLike) -> NDArray[np.float64]:
    """Average precision above chance: (AP - prevalence) / (1 - prevalence).

    A random order of a long list has an AP of about the prevalence; so a frequent concept looks
    easy and a rare one hard. After the correction chance is 0 and a perfect list 1, like Cohen's
    kappa (1960). For AP@K, and for short lists, `expected_average_precision` is the chance level
    to give in place of the prevalence.

    Args:
        ap: (...) average precision; NaN stays NaN.
        prevalence: (...) share of relevant rows, or another chance level, 0 to 1.

    Returns:
        (...) float64, at most 1 and negative below chance; NaN where the prevalence is 1.

    Raises:
        DataError: A prevalence is below 0 or above 1.
    """
    p = np.asarray(prevalence, dtype=np.float64)
    if ((p < 0) | (p > 1)).any():
        raise DataError(
            f"a prevalence from {np.nanmin(p):g} to {np.nanmax(p):g}", "It is a share, 0 to 1."
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        corrected = (np.asarray(ap, dtype=np.float64) - p) / (1 - p)
    return np.where(p < 1, corrected, np.nan)


def top1(logits: ArrayLike, truth: ArrayLike) -> float:
    """Share of rows whose highest logit is that of the true class.

    A row whose true class shares the highest logit with m - 1 others counts 1 / m: the mean over
    all ways to break the tie.

    Args:
        logits: (n, C), any scores of which more is likelier; infinite ones are allowed.
        truth: (n,) integer class of each row, 0 to C - 1.

    Raises:
        DataError: No rows, shapes that do not match, NaN, or a class that does not exist.
    """
    x, t = np.asarray(logits, dtype=np.float64), np.asarray(truth)
    if x.ndim != 2 or not x.size or t.shape != x.shape[:1]:
        raise DataError(
            f"logits of shape {x.shape} and classes of shape {t.shape}",
            "The shapes are (n, C) and (n,), n and C at least 1.",
        )
    _no_nan(x, "logits")
    if not np.issubdtype(t.dtype, np.integer) or t.min() < 0 or t.max() >= x.shape[1]:
        raise DataError(
            f"classes from {t.min()} to {t.max()} ({t.dtype})",
            f"Classes are integers, 0 to {x.shape[1] - 1}.",
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
    """One checked query."""
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
    """Check what both functions take; return the (n,) keys."""
    _checked_k(k)
    if normaliser not in get_args(Normaliser):
        raise ParameterError(
            f"normaliser {normaliser!r}", f"It is one of {', '.join(get_args(Normaliser))}."
        )
    if relevant.shape != scores.shape:
        raise DataError(
            f"scores of shape {scores.shape} and relevance of shape {relevant.shape}",
            "The shapes must be the same.",
        )
    if relevant.dtype != np.bool_:
        raise DataError(
            f"relevance of type {relevant.dtype}", "It is true or false.", "Compare it: shares > 0."
        )
    _no_nan(scores, "scores")
    if ties is None:
        return tie_keys([str(row) for row in range(len(scores))], seed, "retrieval/ties")
    keys = np.asarray(ties)
    if keys.shape != scores.shape[:1]:
        raise DataError(
            f"{keys.shape} keys for {len(scores)} rows",
            "There is one key a row.",
            "Make them with foveate.seeds.tie_keys.",
        )
    return keys


def _checked_k(k: int | None) -> int | None:
    if k is not None and k < 1:
        raise ParameterError(f"k={k}", "The top of a list has 1 row or more; None takes all.")
    return k


def _no_nan(values: NDArray[np.float64], what: str) -> None:
    bad = int(np.isnan(values).sum())
    if bad:
        raise DataError(
            f"{bad} of {values.size} {what} are NaN",
            "Every row needs a number to be ranked.",
            "Leave those rows out, or give them -inf to rank them last.",
        )
