"""Network distilled from the four scores of `foveate.focus`, and its training task.

The paper trains "a three-layer MLP" without stating its inputs and outputs (appendix D); the code
of the authors has a stub with four outputs. Here the outputs are the scores of Eq. 3 to 6, and the
inputs are the properties of a cell that are available before any comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from foveate.models.weights import random_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SCORES = 4  # utility, representativeness, robustness, synergy
WIDTH = 64

_FLOOR = 1e-3  # smallest relative standard deviation of a feature, for constant features


@dataclass(frozen=True)
class ScoredCells:
    """The n cells of one image at one step of a search, with their scores.

    Attributes:
        x: (n, d) float32 features.
        share: (n,) area of each cell as a share of the image.
        level: (n,) subdivision level of each cell.
        parts: (n, 4) utility, representativeness, robustness, synergy; NaN where not computed.
    """

    x: NDArray[np.floating]
    share: NDArray[np.floating]
    level: NDArray[np.integer]
    parts: NDArray[np.floating]

    def inputs(self) -> NDArray[np.float32]:
        """Return the inputs of the network; see `inputs_of`."""
        return inputs_of(self.x, self.share, self.level)


def inputs_of(
    x: NDArray[np.floating], share: NDArray[np.floating], level: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return ``[f_r ; f_X ; log a_r ; level]`` of n cells: (n, 2 d + 2) float32.

    Args:
        x: (n, d) features.
        share: (n,) area of each cell as a share of the image.
        level: (n,) subdivision level of each cell.
    """
    whole = np.asarray(share @ x / share.sum(), np.float32)
    return np.concatenate(
        [x, np.broadcast_to(whole, x.shape), np.log(share)[:, None], level[:, None]], axis=1
    ).astype(np.float32)


class ScorerNet(nn.Module):
    """MLP from cells to four scores: standardisation, LayerNorm, three linear layers with GELU.

    Args:
        dim: d, length of a feature.
    """

    mean: torch.Tensor
    std: torch.Tensor
    part_mean: torch.Tensor
    part_std: torch.Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        wide = 2 * dim + 2
        self.register_buffer("mean", torch.zeros(wide))
        self.register_buffer("std", torch.ones(wide))
        self.register_buffer("part_mean", torch.zeros(SCORES))
        self.register_buffer("part_std", torch.ones(SCORES))
        self.layers = nn.Sequential(
            nn.LayerNorm(wide), nn.Linear(wide, WIDTH), nn.GELU(),
            nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, SCORES),
        )  # fmt: skip

    def standardise(self, cells: Sequence[ScoredCells]) -> None:
        """Compute mean and standard deviation of inputs and scores from the training cells.

        The feature of the image uses the statistics of the cells, because it varies between images
        only, of which there may be few.
        """
        dim = cells[0].x.shape[1]
        inputs = np.concatenate([one.inputs() for one in cells]).astype(np.float64)
        mean, std = inputs.mean(axis=0), inputs.std(axis=0)
        mean[dim : 2 * dim], std[dim : 2 * dim] = mean[:dim], std[:dim]
        std[: 2 * dim] = np.maximum(std[: 2 * dim], max(_FLOOR * std[:dim].max(), 1e-12))
        parts = np.concatenate([one.parts for one in cells]).astype(np.float64)
        spread = parts.std(axis=0)
        for buffer, value in (
            (self.mean, mean), (self.std, np.where(std > 0, std, 1.0)),
            (self.part_mean, np.nan_to_num(parts.mean(axis=0))),
            (self.part_std, np.where(spread > 0, spread, 1.0)),  # also for NaN
        ):  # fmt: skip
            buffer.copy_(torch.from_numpy(value))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return z-scores of the four scores: (n, 2 d + 2) to (n, 4)."""
        return self.layers((inputs - self.mean) / self.std)

    def scores(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the four scores: (n, 2 d + 2) to (n, 4)."""
        with torch.no_grad():
            found = self(torch.from_numpy(inputs).to(self.mean.device))
            return (found * self.part_std + self.part_mean).cpu().numpy().astype(np.float64)


class ScorerTask:
    """Training task, see `foveate.models.fit.Task`; a row is the frontier of an image at one step.

    The loss is the squared error of z-scores plus a pairwise ranking loss, ``softplus(-d s)``
    with d the difference of the network's importance between two cells of one image, in standard
    deviations of the importance, and s the sign of the engine's (Burges et al. 2005, RankNet).

    Args:
        train: Cells of training images; at least one image.
        val: Cells of validation images.
        weights: (4,) weights of the scores in the importance, Eq. 7.
        equal: Importance differences up to this value are treated as ties and not ranked.
        seed: Seed of the initial weights.
        device: Device of the training.
    """

    def __init__(
        self,
        train: Sequence[ScoredCells],
        val: Sequence[ScoredCells],
        *,
        weights: NDArray[np.float64],
        equal: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self.rows = len(train)
        self.net: ScorerNet = random_weights(lambda: ScorerNet(train[0].x.shape[1]), seed)
        self.net.standardise(train)
        self.net.to(device)
        self._device, self._val, self._weights = device, val, weights
        self._equal = equal
        measured = ~np.isnan(train[0].parts).any(axis=0)
        self._measured = torch.from_numpy(measured).to(device)
        sizes = np.array([len(one.x) for one in train])
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes
        self._inputs = self._on_device(np.concatenate([one.inputs() for one in train]))
        parts = np.nan_to_num(np.concatenate([one.parts for one in train]))
        self._parts = (self._on_device(parts) - self.net.part_mean) / self.net.part_std
        total = parts @ weights
        self._total = self._on_device(total)
        share = self.net.part_std * self._on_device(weights)
        self._share = share / max(float(total.std()), equal)

    def loss(self, rows: NDArray[np.int64], draw: np.random.Generator) -> torch.Tensor:
        """Return the loss of some frontiers; each cell is paired with a random other cell."""
        starts, ends = self._starts[rows], self._ends[rows]
        cells = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
        other = np.concatenate(
            [draw.integers(0, b - a, b - a) for a, b in zip(starts, ends, strict=True)]
        )
        first = np.repeat(np.concatenate([[0], np.cumsum(ends - starts)[:-1]]), ends - starts)
        index = torch.from_numpy(cells).to(self._device)
        partner = torch.from_numpy(first + other).to(self._device)
        found = self.net(self._inputs[index])
        error = ((found - self._parts[index]) ** 2)[:, self._measured].mean()
        value, truth = found @ self._share, self._total[index]
        gap, sign = value - value[partner], truth - truth[partner]
        apart = sign.abs() > self._equal
        pairs = functional.softplus(-gap * sign.sign()) * apart
        return error + pairs.sum() / apart.sum().clamp(min=1)

    def validate(self) -> dict[str, float]:
        """Return "score", the mean rank correlation with the computed importance."""
        found = [
            correlation(self.net.scores(one.inputs()), one.parts, self._weights)
            for one in self._val
        ]
        return {"score": float(np.mean(found))}

    def _on_device(self, values: NDArray[np.floating]) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, np.float32)).to(self._device)


def correlation(
    found: NDArray[np.float64], parts: NDArray[np.floating], weights: NDArray[np.float64]
) -> float:
    """Return the rank correlation (Spearman) of two importances of n cells; 0 if undefined.

    Args:
        found: (n, 4) predicted scores.
        parts: (n, 4) computed scores.
        weights: (4,) weights of the scores in the importance; scores that are NaN count as 0.
    """
    from scipy.stats import rankdata

    with np.errstate(invalid="ignore", divide="ignore"):
        ranks = [rankdata(np.nan_to_num(one) @ weights) for one in (found, parts)]
        value = np.corrcoef(ranks)[0, 1]
    return float(np.nan_to_num(value))
