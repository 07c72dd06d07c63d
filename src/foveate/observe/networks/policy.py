"""A policy that learns by reward which tiles to see in high resolution: PatchDrop.

Uzkent and Ermon 2020, "Learning When and Where to Zoom with Deep Reinforcement Learning", section
4: a network reads LR and gives each tile the probability of being acquired; REINFORCE (Williams
1992) with a self-critical baseline (Rennie et al. 2017), the reward of the network's own best
choice, trains it. Deviations: the reward is the loss that HR spares, not the hits of a classifier;
and the cost of a tile is a Lagrange multiplier that follows the share in use, so that a budget is
met (the paper's fixed penalty meets none).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import nn

from foveate.models.weights import random_weights
from foveate.observe.networks.sampler import Sampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.observe.networks.sizes import Shape

RewardKind = Literal["tiles", "scene"]
_STEP = 0.1  # of the multiplier for a share off the budget, in standard deviations of the gain
_PULL = 4.0  # what a share off the budget adds to the multiplier at once, in the same
_BOUND = 3.0  # of logits: a policy that is too sure would learn nothing more
_OFF = 20.0  # what a share off the budget costs where epochs are compared
_SURE = 1e-6


class Policy(nn.Module):
    """A sampler with one head, and the multiplier that it was trained under.

    It learns by reward alone: it hears no classifiers, and its linear part stays at nothing.

    Args:
        shape: Sizes; the ensemble and the concepts are left out.
    """

    price: torch.Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.sampler = Sampler(replace(shape, ensemble=1, concepts=0))
        self.sampler.linear.requires_grad_(requires_grad=False)
        self.register_buffer("price", torch.zeros(()))

    def forward(self, lr: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
        """Return (b, R, C) logits of acquisition; see `Sampler`."""
        return _BOUND * torch.tanh(self.sampler(lr, fill)[..., 0] / _BOUND)


@dataclass(frozen=True)
class Scenes:
    """What a policy sees of scenes, and what its choices lead to.

    Attributes:
        lr: (s, R * r, C * r, lr_dim) LR tokens.
        fill: (s, R * k, C * k, hr_dim) what the LR fill makes of them.
        low: (s, R, C, K) probabilities of the concepts by the fill.
        high: (s, R, C, K) the same by HR.
        present: (s, R, C, K) bool.
        here: (s, R, C) bool: tiles that there are.
    """

    lr: torch.Tensor
    fill: torch.Tensor
    low: NDArray[np.floating]
    high: NDArray[np.floating]
    present: NDArray[np.bool_]
    here: NDArray[np.bool_]

    def gain(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (s, R, C) cross-entropy that HR spares each tile; 0 where there is none."""
        low, high = (_entropy(p, self.present) @ weights for p in (self.low, self.high))
        return np.where(self.here, low - high, 0.0)


class PolicyTask:
    """Trains a policy; see `foveate.models.fit.Task`.

    Args:
        net: The policy.
        train: Scenes to learn from.
        val: Scenes to choose the epoch by.
        device: Where to train.
        obr: Share of the tiles that may be acquired.
        weights: (K,) weights of the concepts.
        reward: "tiles": the cross-entropy of the concepts of tiles that is spared, each tile
            credited with its own, for those of the others do not depend on it; "scene": that of
            the scene, which shows a concept if one of its tiles does, for all its actions at once.
        alpha: Share of a probability that is kept in training: p becomes
            alpha p + (1 - alpha)(1 - p), so that what looks worthless is tried.
    """

    def __init__(
        self, net: Policy, train: Scenes, val: Scenes, device: torch.device, *, obr: float,
        weights: NDArray[np.float64], reward: RewardKind = "tiles", alpha: float = 0.8,
    ) -> None:  # fmt: skip
        self.net = net.to(device)
        self.rows = len(train.lr)
        self._train, self._val, self._device = train, val, device
        self._obr, self._weights, self._reward, self._alpha = obr, weights, reward, alpha
        # Sure choices have the probability e and 1 - e, as far as logits are bounded.
        least = float(1 / (1 + np.exp(_BOUND)))
        self._used = least + (1 - 2 * least) * obr
        gains = tuple(scenes.gain(weights) for scenes in (train, val))
        self._unit = max(float(gains[0][train.here].std()), 1e-12)
        self._gains = tuple(gain / self._unit for gain in gains)

    def loss(self, rows: NDArray[np.int64], draw: np.random.Generator) -> torch.Tensor:
        """Return the self-critical policy gradient loss of scenes."""
        part = self._train
        logits = self._logits(part, rows)
        p = logits.sigmoid()
        tried = self._alpha * p + (1 - self._alpha) * (1 - p)
        here = part.here[rows]
        chance = tried.detach().cpu().numpy()
        action = (draw.random(here.shape) < chance) & here
        greedy = (p.detach().cpu().numpy() > 0.5) & here
        price = self._price(p.detach().cpu().numpy(), here)
        size = np.maximum(here.sum(axis=(1, 2), keepdims=True), 1)
        changed = action.astype(float) - greedy
        if self._reward == "tiles":
            advantage = changed * (self._gains[0][rows] - price)
        else:
            spared = self._scene(rows, action) - self._scene(rows, greedy)
            advantage = spared[:, None, None] - changed * price  # a price is of each tile alone
        taken = torch.from_numpy(action).to(self._device)
        log = torch.where(taken, tried.clamp(min=_SURE).log(), (1 - tried).clamp(min=_SURE).log())
        credit = torch.from_numpy(np.where(here, advantage / size, 0.0)).to(log)
        return -(credit * log).sum() / len(rows)

    def validate(self) -> dict[str, float]:
        """Return how good the choices on the validation scenes are.

        "score": the share of the gain of the best choice of that size, less what the share in use
        is off the budget; "share": the share in use; "gain": what is spared a tile, in the unit of
        the loss; "price": the multiplier, in the same.
        """
        rows, here = np.arange(len(self._val.lr)), self._val.here
        chosen = (self._logits(self._val, rows) > 0).cpu().numpy() & here
        gain = self._gains[1]
        share = float(chosen.sum() / max(here.sum(), 1))
        best = np.sort(gain[here])[::-1][: max(1, round(self._obr * here.sum()))]
        most = float(np.maximum(best, 0).sum())
        captured = float(gain[chosen].sum()) / most if most > 0 else 0.0
        return {
            "score": min(captured, 1.0) - _OFF * abs(share - self._obr),
            "share": share,
            "gain": float(gain[chosen].sum() / max(here.sum(), 1)) * self._unit,
            "price": float(self.net.price) * self._unit,
        }

    @torch.no_grad()
    def _price(self, p: NDArray[np.floating], here: NDArray[np.bool_]) -> float:
        """Return what a tile costs now, and let the multiplier follow the share in use.

        The augmented Lagrangian (Hestenes 1969): what is off now counts besides the multiplier,
        which alone would swing, for the network follows it late.
        """
        if here.any():
            self.net.price += _STEP * (float((p[here] > 0.5).mean()) - self._obr)
            pull = _PULL * (float(p[here].mean()) - self._used)
        else:
            pull = 0.0
        return float(self.net.price) + pull

    def _scene(self, rows: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return (b,) what is spared of the cross-entropy of scenes, against nothing chosen."""
        part = self._train
        truth = (part.present[rows] & part.here[rows][..., None]).any(axis=(1, 2))
        losses = []
        for mask in (np.zeros_like(chosen), chosen):
            p = np.where(mask[..., None], part.high[rows], part.low[rows])
            p = np.where(part.here[rows][..., None], p, 0.0).max(axis=(1, 2))
            losses.append(_entropy(p, truth) @ self._weights)
        return (losses[0] - losses[1]) / self._unit

    def _logits(self, scenes: Scenes, rows: NDArray[np.integer]) -> torch.Tensor:
        at = torch.from_numpy(np.asarray(rows, np.int64))
        lr, fill = (x[at].to(self._device).float() for x in (scenes.lr, scenes.fill))
        return self.net(lr, fill)


def new_policy(shape: Shape, seed: int, obr: float = 0.5) -> Policy:
    """Return a policy with seeded first weights, whose first probabilities are about the budget."""
    net = random_weights(lambda: Policy(shape), seed)
    nn.init.constant_(net.sampler.outlets[0].bias, float(np.log(obr / (1 - obr))))
    return net


def _entropy(p: NDArray[np.floating], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the cross-entropy of probabilities, element by element."""
    sure = np.clip(np.asarray(p, np.float64), _SURE, 1 - _SURE)
    return -np.where(present, np.log(sure), np.log1p(-sure))
