"""What chance would give: random selections and constant answers, and verdicts against them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from foveate.seeds import rng
from foveate.stats import ALPHA, bootstrap_mean, entropy, holm, paired_bootstrap, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

DRAWS = 1999  # with 16 comparisons Holm leaves a p-value of .016 at the least
_WORK = 1e8  # counts that are added up; above, the totals of so many patches are nearly normal
_RARE = 500  # patches with a class, below which its total is not


class Against(NamedTuple):
    """A figure of a selection against the same of random selections of its size.

    Attributes:
        verdict: "better" (larger), "worse", "tied" (from low to high), or "open" (outside, but not
            after Holm's correction); "" before `judged`.
    """

    value: float  # of the selection
    mean: float  # of random ones
    low: float  # 2.5 % of the random ones lie below
    high: float  # 2.5 % lie above
    p: float = 1.0  # two-sided: twice the share of random ones that are as far off
    verdict: str = ""


class Baseline(NamedTuple):
    """Random selections of one size.

    Attributes:
        entropy: (draws,) class entropy, 0 to 1; NaN for a draw without a counted pixel.
    """

    entropy: NDArray[np.float64]
    share: NDArray[np.float64]  # (draws, C) share of each class


def random_picks(
    counts: NDArray[np.int64], k: int, *, draws: int = DRAWS, seed: int = 0
) -> Baseline:
    """Draw k of n patches again and again, without replacement.

    Where that is much work, the totals of the classes are drawn from the normal distribution with
    their means and covariances, of which the factor 1 - k / n is that of a finite pool; the total
    of a class that few patches show is drawn patch by patch all the same.

    Args:
        counts: (n, C) pixels per class.
        k: Patches of a selection.
        draws: Selections.
        seed: Of the draws.
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
            there = counts[counts[:, c] > 0, c]
            if there.size < _RARE:
                many = draw.hypergeometric(there.size, n - there.size, k, draws)
                total[:, c] = [draw.choice(there, m, replace=False).sum() for m in many]
        total = np.maximum(total, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = total / total.sum(axis=1, keepdims=True)
    return Baseline(entropy(total), share)


def against(value: float, drawn: NDArray[np.float64]) -> Against:
    """Compare a figure with those of random selections; the verdict is left to `judged`.

    Args:
        value: Of the selection.
        drawn: (draws,) of random ones; NaN where a draw has none.
    """
    known = drawn[np.isfinite(drawn)]
    if not known.size or not math.isfinite(value):
        return Against(value, math.nan, math.nan, math.nan)
    low, high = np.quantile(known, [0.025, 0.975]).tolist()
    slack = 1e-9 * max(1.0, abs(value))  # sums in another order
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
    """How often answers are right, against always giving the most common one."""

    judged: int  # answers whose truth is known
    share: float  # of them that are right
    low: float  # lower end of the 95 % interval; NaN where there is none
    high: float  # upper end
    constant: str  # the most common true class
    constant_share: float  # how often that answer alone is right
    guess: float  # how often a guess is right: 1 / classes to choose from
    verdict: str  # against the constant answer, see `foveate.stats.verdict`; "" without an interval


def right(
    found: NDArray[np.int64], truth: NDArray[np.int64], clusters: ArrayLike, names: Sequence[str]
) -> Right | None:
    """Judge answers; None where no truth is known.

    Args:
        found: (n,) class numbers that were answered.
        truth: (n,) true ones; -1 where not known.
        clusters: (n,) label of the scene of each answer: intervals draw whole scenes.
        names: C classes.
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
    """Judge answers of which only the share that is right is known, each of an image of its own.

    The interval is Wilson's (1927), which for independent answers stands in for the bootstrap.

    Args:
        share: That are right.
        answers: Number of them.
        constant: How often the most common class is right alone; NaN where not known.
        guess: How often a guess is right.
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
