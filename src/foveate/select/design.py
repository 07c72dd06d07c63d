"""Which items to observe so that all are known best: weighted A-optimal design, greedily.

Each item has a worth, and what is not known of it is a Gaussian process with a kernel that the
items of a group share. Observing one removes its own doubt, and part of the doubt of those alike
(Krause, Singh and Guestrin 2008, Near-Optimal Sensor Placements in Gaussian Processes, section 3,
with the trace for the entropy and a weight for each item).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def greedy_design(
    kernel: NDArray[np.floating], worth: NDArray[np.floating], noise: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Order the items of a group by what each adds to those before it.

    What picking p takes away is ``w_p (k_pp + s2) + sum_j!=p w_j k_jp^2 / (k_pp + s2)``, for the
    kernel k given what was picked before and the noise s2, the part of an item's doubt that it
    shares with nothing.

    Args:
        kernel: (n, n) positive semi-definite.
        worth: (n,) at least 0.
        noise: s2, above 0.

    Returns:
        (n,) items in order, and (n,) what each took away; as a running minimum, so that groups can
        be merged by it.
    """
    k = np.array(kernel, np.float64)
    w = np.asarray(worth, np.float64)
    left = np.ones(len(w), bool)
    order, gains = np.empty(len(w), np.int64), np.empty(len(w))
    least = np.inf
    for step in range(len(w)):
        variance = np.maximum(np.diagonal(k), 0) + noise
        # An item that was picked has no doubt left, whatever its neighbours.
        others = (w * left) @ np.square(k) - w * left * np.square(np.diagonal(k))
        value = np.where(left, w * variance + others / variance, -np.inf)
        best = int(value.argmax())
        least = min(least, float(value[best]))
        order[step], gains[step] = best, least
        left[best] = False
        k -= np.outer(k[:, best], k[best]) / variance[best]
    return order, gains
