"""What counts of each concept, for policies that look at several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import ParameterError
from foveate.observe._check import finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def weights_of(weights: Sequence[float] | None, concepts: int) -> NDArray[np.float64]:
    """Return (K,) weights, ones when None.

    Raises:
        DataError: Not K numbers.
        ParameterError: A negative weight.
    """
    if weights is None:
        return np.ones(concepts)
    found = finite(weights, "weights", (concepts,))
    if (found < 0).any():
        raise ParameterError(f"a weight of {found.min():g}", "Weights are 0 or more.")
    return found
