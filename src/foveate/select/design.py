"""Greedy weighted A-optimal design: the items to observe so that the total uncertainty is smallest.

Each item has a weight, and the residuals of a group are a Gaussian process with a common kernel.
Observing an item removes its uncertainty, and part of the uncertainty of similar items (Krause,
Singh and Guestrin 2008, Near-Optimal Sensor Placements in Gaussian Processes, section 3, with the
trace instead of the entropy and a weight for each item).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def greedy_design(
    kernel: NDArray[np.floating], worth: NDArray[np.floating], noise: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Order the items of a group by the reduction of uncertainty, given the earlier ones.

    Observing p reduces the uncertainty by ``w_p (k_pp + s2) + sum_j!=p w_j k_jp^2 / (k_pp + s2)``,
    with the kernel k given the earlier observations and the noise s2, the uncorrelated part of the
    variance of an item.

    Args:
        kernel: (n, n) positive semi-definite.
        worth: (n,) weights, at least 0.
        noise: s2, above 0.

    Returns:
        (n,) items in order, and (n,) the reduction by each, as a running minimum, so that groups
        can be merged by it.
    """
    k = np.array(kernel, np.float64)
    w = np.asarray(worth, np.float64)
    left = np.ones(len(w), bool)
    order, gains = np.empty(len(w), np.int64), np.empty(len(w))
    least = np.inf
    for step in range(len(w)):
        variance = np.maximum(np.diagonal(k), 0) + noise
        # Observed items have no remaining uncertainty.
        others = (w * left) @ np.square(k) - w * left * np.square(np.diagonal(k))
        value = np.where(left, w * variance + others / variance, -np.inf)
        best = int(value.argmax())
        least = min(least, float(value[best]))
        order[step], gains[step] = best, least
        left[best] = False
        k -= np.outer(k[:, best], k[best]) / variance[best]
    return order, gains
