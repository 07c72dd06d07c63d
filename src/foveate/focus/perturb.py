"""The small perturbation of Eq. 5: speckle, and a gain for each band.

The paper names colour fluctuations and speckle, and no sizes. The default is multiplicative noise
of 5 % on each pixel and a gain of up to 10 % on each band: what two acquisitions of one place
differ by. For radar and others, pass a function of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Perturbation = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]

SPECKLE, GAIN = 0.05, 0.10


def perturb(image: NDArray[Any], draw: np.random.Generator) -> NDArray[Any]:
    """Return (c, h, w) pixels with speckle and gains, in their own dtype.

    Values beyond the range of an integer dtype are set to its end.
    """
    noise = 1 + SPECKLE * draw.standard_normal(image.shape[1:], dtype=np.float32)
    gain = draw.uniform(1 - GAIN, 1 + GAIN, (len(image), 1, 1)).astype(np.float32)
    found = image * (noise * gain)
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        # A float32 cannot hold the ends of the longer integers: the cast would wrap around.
        found = np.clip(np.rint(found.astype(np.float64)), limits.min, limits.max)
    return found.astype(image.dtype)


def perturbed(
    image: NDArray[Any], name: str, seed: int, function: Perturbation = perturb
) -> NDArray[Any]:
    """Perturb an image by what its name and the seed say, whatever else is perturbed.

    Args:
        image: (c, h, w).
        name: Name of the window.
        seed: Seed of the run.
        function: From pixels and a generator to pixels of the same shape and dtype.
    """
    return function(image, rng(seed, f"focus/perturb/{name}"))
