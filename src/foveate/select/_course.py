"""Predict the bound of `balance` from its last steps, and evaluate it for the current set.

`_tally` derives the bound. Its reference prices and the values of D at which a pass computes it are
extrapolated from the last steps. A poor prediction costs additional passes, but changes no pick.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from foveate.select._tally import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.select._tally import Candidates

_STEPS = 64  # number of last steps used for the prediction
_REACH = np.array([0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0])  # D, as multiples of the predicted one
_MAIN = 0
_LAST_STEP = 1.5  # the predicted D is at least this multiple of the length of the last step
_ROUNDING = 1e-12
_CHUNK = 2048  # candidates that are excluded together


class Trajectory:
    """Prices and gains of the last steps of a greedy loop."""

    def __init__(self) -> None:
        self._steps: deque[tuple[NDArray[np.float64], float, float]] = deque(maxlen=_STEPS)

    def add(self, mix: NDArray[np.float64], gain: float) -> None:
        """Record a step: (C,) pixels of the set before it, and the gain in entropy in nats."""
        total = float(mix.sum())
        if self._steps and self._steps[-1][1] == total:
            self._steps.pop()  # a better estimate of the same step
        if np.isfinite(gain):
            self._steps.append((_prices(mix), total, gain))

    def frame(self, mix: NDArray[np.float64]) -> Frame:
        """Return the set `mix`, not empty, with predicted reference prices and values of D."""
        total, now = float(mix.sum()), _prices(mix)
        # While the classes are balanced, prices and gains fall like 1 / T.
        path = [prices * (then / total) for prices, then, _ in self._steps]
        path.append(now)
        gains = [gain * (then / total) for _, then, gain in self._steps]
        price = np.mean(path, axis=0)
        distance = max(_deviation(mix, prices - price)[0] for prices in path)
        if len(path) > 1:
            distance = max(distance, _LAST_STEP * _deviation(mix, now - path[-2])[0])
        level = -float(mix @ price) / total - (float(np.mean(gains)) if gains else 0.0)
        return Frame(mix.copy(), price, _REACH * max(distance, 1e-300), _MAIN, level)


class CandidateBound:
    """Number of candidates that can have at least a given gain, from the bounds of a pass.

    Args:
        frame: The set at the pass.
        candidates: Candidates in descending order of their bounds.
        trajectory: Records the steps.
    """

    def __init__(self, frame: Frame, candidates: Candidates, trajectory: Trajectory) -> None:
        self.frame, self.trajectory = frame, trajectory
        begins = np.arange(0, candidates.base.size, _CHUNK)
        t = candidates.p.sum(axis=1, dtype=np.float64)
        others = candidates.others
        low, high = others.pixels
        self.has_others = high > 0
        self.pixels = min(low, float(t.min())), max(high, float(t.max()))
        self.widest = max(others.widest, float(candidates.width.max()))
        # For each D: maxima over each chunk and all later ones, and over rows that are not
        # candidates.
        highest = [
            np.append(np.maximum.reduceat(candidates.base + candidates.width * reach, begins), rest)
            for reach, rest in zip(frame.reach.tolist(), others.highest.tolist(), strict=True)
        ]
        self._highest = np.maximum.accumulate(np.array(highest)[:, ::-1], axis=1)[:, ::-1]

    def __call__(self, mix: NDArray[np.float64], gain: float) -> int | None:
        """Return the number of leading candidates that may gain `gain` nats when added to `mix`.

        All later candidates, and all other rows, certainly gain less. None if other rows may gain
        as much.
        """
        self.trajectory.add(mix, gain)
        if not np.isfinite(gain):
            return None
        frame = self.frame
        present, total = frame.mix > 0, float(mix.sum())
        k = float((frame.mix[present] / mix[present]).min())
        distance, centre = _deviation(frame.mix, _prices(mix) - k * frame.price)
        bound = self._bounds(distance * (1 + _ROUNDING) / k)
        # Terms in t that the bound at the pass does not contain, for the worst t of any row.
        extra = (centre - gain) / k - frame.level
        extra = max(extra * t for t in self.pixels)
        square = 1 / (2 * total * k) - 1 / (2 * float(frame.mix.sum()))
        extra += max(square, 0.0) * self.pixels[1] ** 2
        bound = k * (bound + extra + _ROUNDING * abs(extra))
        slack = _ROUNDING * np.abs(np.where(np.isfinite(bound), bound, 0.0))
        possible = np.flatnonzero(~(bound + slack < gain * total))
        if not possible.size:
            return 0
        last = int(possible[-1])
        if last == bound.size - 1 and self.has_others:
            return None
        return min(last + 1, bound.size - 1) * _CHUNK

    def _bounds(self, reach: float) -> NDArray[np.float64]:
        """Return an upper limit of the maxima at D = `reach`.

        The maxima are convex in D: between two known values they lie below the chord, and beyond
        the last one they grow by at most the largest N.
        """
        known = self.frame.reach
        right = min(max(int(np.searchsorted(known, reach)), 1), known.size - 1)
        low, high = known[right - 1], known[right]
        fraction = min((reach - low) / (high - low), 1.0)
        at_low, at_high = self._highest[right - 1], self._highest[right]
        with np.errstate(invalid="ignore"):
            chord = at_low + fraction * (at_high - at_low)
        beyond = max(reach - float(known[-1]), 0.0)
        return np.where(np.isfinite(at_low), chord, at_low) + beyond * self.widest


def _prices(mix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return w - h of each class of a set, in nats; 0 for classes that are not in the set."""
    total = float(mix.sum())
    w = np.log(total) - np.log(np.maximum(mix, 1.0))
    return np.where(mix > 0, w - float(mix @ w) / total, 0.0)


def _deviation(mix: NDArray[np.float64], prices: NDArray[np.float64]) -> tuple[float, float]:
    """Return sqrt(sum mix (prices - c)^2), and the mean c of the prices weighted by `mix`."""
    centre = float(mix @ prices) / float(mix.sum())
    return float(np.sqrt(mix @ np.square(prices - centre))), centre
