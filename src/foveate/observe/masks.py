"""Which tiles are observed in training: random, in blocks, or as the sampler would have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST, MOST = 0.02, 0.5  # observed share of the tiles in training
_EXTREMES = 0.05  # of the masks observe nothing, and as many everything
_BLOCKY = 0.3  # of the masks are blocks: what is bought mostly is


def random_masks(here: NDArray[np.bool_], draw: np.random.Generator) -> NDArray[np.bool_]:
    """Draw masks for training (stage I).

    Args:
        here: (b, R, C) bool: tiles that there are.
        draw: Generator.

    Returns:
        (b, R, C) bool: observed.
    """
    masks = np.stack([_mask(tiles, draw) for tiles in here])
    return masks & here


def sampled_masks(
    here: NDArray[np.bool_], scores: NDArray[np.floating], draw: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw masks as the sampler makes them: the best tiles of the batch at a drawn budget.

    Half of the masks stay random, so that the predictor does not forget other ways of buying
    (stage II).

    Args:
        here: (b, R, C) bool.
        scores: (b, R, C) of the sampler.
        draw: Generator.

    Returns:
        (b, R, C) bool: observed.
    """
    share = draw.uniform(LEAST, MOST)
    known = scores[here]
    best = here & (scores > np.quantile(known, 1 - share)) if known.size else here
    keep = draw.random(len(here)) < 0.5
    return np.where(keep[:, None, None], random_masks(here, draw), best)


def _mask(here: NDArray[np.bool_], draw: np.random.Generator) -> NDArray[np.bool_]:
    kind = draw.random()
    if kind < _EXTREMES:
        return np.zeros_like(here)
    if kind < 2 * _EXTREMES:
        return np.ones_like(here)
    share = draw.uniform(LEAST, MOST)
    if draw.random() < _BLOCKY:
        return _blocks(here.shape, share, draw)
    return draw.random(here.shape) < share


def _blocks(shape: tuple[int, ...], share: float, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Return rectangles that together cover at least a share of the grid."""
    mask = np.zeros(shape, bool)
    while mask.mean() < share:
        sides = [int(draw.integers(1, max(2, n // 2 + 1))) for n in shape]
        corner = [int(draw.integers(0, n - s + 1)) for n, s in zip(shape, sides, strict=True)]
        mask[corner[0] : corner[0] + sides[0], corner[1] : corner[1] + sides[1]] = True
    return mask
