"""How the set of `balance` moves, and what that says of rows that are no candidates.

See `_tally` for the bound. Where it is wanted is a guess from the last steps: a wrong one makes
more passes, and changes no pick.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from foveate.select._tally import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select._tally import Found

_STEPS = 64  # that the guess is made from
_REACH = np.array([0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0])  # of the guess
_MAIN = 0
_JUMP = 1.5  # reach of a single step, of which no more is known
_ROUNDING = 1e-12
_CHUNK = 2048  # candidates that are ruled out together


class Course:
    """The last steps of the set."""

    def __init__(self) -> None:
        self._steps: deque[tuple[NDArray[np.float64], float, float]] = deque(maxlen=_STEPS)

    def add(self, mix: NDArray[np.float64], gain: float) -> None:
        """Enter the set before a step, and by how many nats that raises its entropy."""
        total = float(mix.sum())
        if self._steps and self._steps[-1][1] == total:
            self._steps.pop()  # the same step, of which more is known
        if np.isfinite(gain):
            self._steps.append((_prices(mix), total, gain))

    def frame(self, mix: NDArray[np.float64]) -> Frame:
        """Return where a bound on rows will be wanted once the set is `mix`, which is not empty."""
        total, now = float(mix.sum()), _prices(mix)
        # While the classes are balanced, prices and gains fall like 1 / T.
        path = [prices * (then / total) for prices, then, _ in self._steps]
        path.append(now)
        gains = [gain * (then / total) for _, then, gain in self._steps]
        price = np.mean(path, axis=0)
        far = max(_length(mix, one - price)[0] for one in path)
        if len(path) > 1:
            far = max(far, _JUMP * _length(mix, now - path[-2])[0])
        level = -float(mix @ price) / total - (float(np.mean(gains)) if gains else 0.0)
        return Frame(mix.copy(), price, _REACH * max(far, 1e-300), _MAIN, level)


class Certain:
    """How many of the candidates are to be looked at, given the gain of one row.

    Args:
        frame: The set at the pass.
        found: The candidates, those of the largest bounds first.
        course: Is told of the steps.
    """

    def __init__(self, frame: Frame, found: Found, course: Course) -> None:
        self.frame, self.course = frame, course
        begins = np.arange(0, found.base.size, _CHUNK)
        t = found.p.sum(axis=1, dtype=np.float64)
        low, high = found.others.pixels
        self.others = high > 0
        self.pixels = min(low, float(t.min())), max(high, float(t.max()))
        self.widest = max(found.others.widest, float(found.width.max()))
        # Of each chunk and all after it, and at last of the rows that are no candidates.
        highest = [
            np.append(np.maximum.reduceat(found.base + found.width * reach, begins), other)
            for reach, other in zip(frame.reach.tolist(), found.others.highest.tolist(),
                                    strict=True)
        ]  # fmt: skip
        self._highest = np.maximum.accumulate(np.array(highest)[:, ::-1], axis=1)[:, ::-1]

    def __call__(self, mix: NDArray[np.float64], gain: float) -> int | None:
        """Return how many are not sure to gain less than `gain` nats when added to `mix`."""
        self.course.add(mix, gain)
        if not np.isfinite(gain):
            return None
        frame = self.frame
        met, total = frame.mix > 0, float(mix.sum())
        less = float((frame.mix[met] / mix[met]).min())
        distance, centre = _length(frame.mix, _prices(mix) - less * frame.price)
        bound = self._bounds(distance * (1 + _ROUNDING) / less)
        more = (centre - gain) / less - frame.level
        more = max(more * t for t in self.pixels)
        square = 1 / (2 * total * less) - 1 / (2 * float(frame.mix.sum()))
        more += max(square, 0.0) * self.pixels[1] ** 2
        bound = less * (bound + more + _ROUNDING * abs(more))
        slack = _ROUNDING * np.abs(np.where(np.isfinite(bound), bound, 0.0))
        open_ = np.flatnonzero(~(bound + slack < gain * total))
        if not open_.size:
            return 0
        last = int(open_[-1])
        if last == bound.size - 1 and self.others:
            return None
        return min(last + 1, bound.size - 1) * _CHUNK

    def _bounds(self, reach: float) -> NDArray[np.float64]:
        """Return the largest bounds: between two values of a convex function, their line."""
        known = self.frame.reach
        right = min(max(int(np.searchsorted(known, reach)), 1), known.size - 1)
        low, high = known[right - 1], known[right]
        part = min((reach - low) / (high - low), 1.0)
        one, other = self._highest[right - 1], self._highest[right]
        with np.errstate(invalid="ignore"):
            found = one + part * (other - one)
        beyond = max(reach - float(known[-1]), 0.0)
        return np.where(np.isfinite(one), found, one) + beyond * self.widest


def _prices(mix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return w - h of each class of a set, in nats; 0 for classes that are not met."""
    total = float(mix.sum())
    w = np.log(total) - np.log(np.maximum(mix, 1.0))
    return np.where(mix > 0, w - float(mix @ w) / total, 0.0)


def _length(mix: NDArray[np.float64], prices: NDArray[np.float64]) -> tuple[float, float]:
    """Return how far prices are from their mean, both weighted by `mix`, and the mean."""
    centre = float(mix @ prices) / float(mix.sum())
    return float(np.sqrt(mix @ np.square(prices - centre))), centre
