"""Baselines by chance: random selections, constant answers, and verdicts against them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from foveate.seeds import rng
from foveate.stats import ALPHA, bootstrap_mean, entropy, holm, paired_bootstrap, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

DRAWS = 1999  # with 16 comparisons, the smallest p-value after Holm's correction is 0.016
_WORK = 1e8  # number of summed counts above which totals are drawn from a normal distribution
_RARE = 500  # classes in fewer patches do not have nearly normal totals


class Against(NamedTuple):
    """A figure of a selection compared with random selections of the same size.

    Attributes:
        verdict: "better" (larger), "worse", "tied" (from low to high), or "open" (outside, but not
            significant after Holm's correction); "" before `judged`.
    """

    value: float  # of the selection
    mean: float  # mean of random selections
    low: float  # 2.5 % quantile of random selections
    high: float  # 97.5 % quantile
    p: float = 1.0  # two-sided: twice the share of random selections at least as extreme
    verdict: str = ""


class Baseline(NamedTuple):
    """Random selections of one size.

    Attributes:
        entropy: (draws,) class entropy, 0 to 1; NaN for a draw without counted pixels.
    """

    entropy: NDArray[np.float64]
    share: NDArray[np.float64]  # (draws, C) share of each class


def random_picks(
    counts: NDArray[np.int64], k: int, *, draws: int = DRAWS, seed: int = 0
) -> Baseline:
    """Draw random selections of k of n patches, without replacement.

    For large pools, the class totals are drawn from a normal distribution with their means and
    covariances, where 1 - k / n is the finite population correction. The total of a class that few
    patches show is always drawn patch by patch.

    Args:
        counts: (n, C) pixels per class.
        k: Number of patches per selection.
        draws: Number of selections.
        seed: Seed of the draws.
    """
    n, classes = counts.shape
    draw = rng(seed, "report/chance")
    if draws * max(classes * k, min(n, 50 * k)) <= _WORK:
        total = np.stack([
            counts[draw.choice(n, k, replace=False, shuffle=False)].sum(axis=0)
            for _ in range(draws)
        ]).astype(np.float64)  # fmt: skip
    else:
        spread = np.atleast_2d(np.cov(counts.T)) * k * (1 - k / n)
        total = draw.multivariate_normal(k * counts.mean(axis=0), spread, draws, method="eigh")
        for c in range(classes):
            positive = counts[counts[:, c] > 0, c]
            if positive.size < _RARE:
                drawn = draw.hypergeometric(positive.size, n - positive.size, k, draws)
                total[:, c] = [draw.choice(positive, m, replace=False).sum() for m in drawn]
        total = np.maximum(total, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = total / total.sum(axis=1, keepdims=True)
    return Baseline(entropy(total), share)


def against(value: float, drawn: NDArray[np.float64]) -> Against:
    """Compare a figure with random selections, without a verdict; see `judged`.

    Args:
        value: Figure of the selection.
        drawn: (draws,) figures of random selections; NaN where undefined.
    """
    known = drawn[np.isfinite(drawn)]
    if not known.size or not math.isfinite(value):
        return Against(value, math.nan, math.nan, math.nan)
    low, high = np.quantile(known, [0.025, 0.975]).tolist()
    slack = 1e-9 * max(1.0, abs(value))  # the order of summation differs
    beyond = 1 + min(int((known >= value - slack).sum()), int((known <= value + slack).sum()))
    p = min(1.0, 2 * beyond / (known.size + 1))
    return Against(value, float(known.mean()), low, high, p)


def judged(found: Sequence[Against]) -> list[Against]:
    """Return figures with verdicts; all of them are one family of Holm's correction."""
    adjusted = holm([one.p for one in found]).tolist()
    return [one._replace(verdict=_word(one, p)) for one, p in zip(found, adjusted, strict=True)]


def _word(found: Against, p: float) -> str:
    if not math.isfinite(found.low) or found.low <= found.value <= found.high:
        return "tied"
    if p > ALPHA:
        return "open"
    return "better" if found.value > found.high else "worse"


class Right(NamedTuple):
    """Accuracy of answers, compared with a constant answer and with guessing."""

    judged: int  # answers with ground truth
    share: float  # accuracy
    low: float  # lower end of the 95 % interval; NaN without an interval
    high: float  # upper end
    constant: str  # the most common true class
    constant_share: float  # accuracy of always answering that class
    guess: float  # accuracy of guessing: 1 / number of classes
    verdict: str  # against the constant answer, see `foveate.stats.verdict`; "" without an interval


def right(
    found: NDArray[np.int64], truth: NDArray[np.int64], clusters: ArrayLike, names: Sequence[str]
) -> Right | None:
    """Return the accuracy of answers; None without ground truth.

    Args:
        found: (n,) predicted class numbers.
        truth: (n,) true class numbers; -1 where not known.
        clusters: (n,) scene of each answer; intervals resample whole scenes.
        names: Names of the C classes.
    """
    known = truth >= 0
    if not known.any():
        return None
    found, truth, groups = found[known], truth[known], np.asarray(clusters)[known]
    times = np.bincount(truth, minlength=len(names))
    most = int(times.argmax())
    hits, constant = (found == truth).astype(float), (truth == most).astype(float)
    low = high = math.nan
    word = ""
    count = np.unique(groups).size
    if count > 1:
        ends = bootstrap_mean(hits, groups)
        low, high = ends.low, ends.high
        if low == high:  # resamples of equal values are equal: each scene counts as one answer
            low, high = _wilson(float(hits.mean()), count)
        gap = paired_bootstrap(hits, constant, groups)
        word = verdict(gap, gap.p, count)
    return Right(
        int(known.sum()), float(hits.mean()), low, high, names[most], float(constant.mean()),
        1 / len(names), word,
    )  # fmt: skip


def right_of(share: float, answers: int, constant: float, guess: float) -> Right:
    """Return the accuracy of independent answers from its value alone, one answer per image.

    The interval is Wilson's (1927), which replaces the bootstrap for independent answers.

    Args:
        share: Accuracy.
        answers: Number of answers.
        constant: Accuracy of always answering the most common class; NaN where not known.
        guess: Accuracy of guessing.
    """
    if not answers:
        return Right(0, math.nan, math.nan, math.nan, "", constant, guess, "")
    low, high = _wilson(share, answers)
    base = guess if math.isnan(constant) else max(constant, guess)
    word = "better" if low > base else "worse" if high < base else "tied"
    return Right(answers, share, low, high, "", constant, guess, word)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion of n independent trials (Wilson 1927)."""
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)
