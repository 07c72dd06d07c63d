"""Baselines that need training: the models of SAR, and PatchDrop.

SAR, scale-aware recognition (Revankar et al. 2025), as described in its paper: a model on LR is
trained with labels (the teacher), a student on LR is distilled from the HR model, and HR is
acquired where the two disagree on concepts that need it. Deviations: both models are linear over
the tokens of a tile, its neighbours and its scene, as the LR fill is; the concepts that need HR
follow from `Concept.min_gsd` or a function, where the paper asks a language model.

PatchDrop: Uzkent and Ermon 2020, "Learning When and Where to Zoom with Deep Reinforcement
Learning", section 4: a network predicts the probability of acquisition of each tile from LR. It is
trained by REINFORCE (Williams 1992) with a self-critical baseline (Rennie et al. 2017), the reward
of the most likely actions. Deviations: the reward is the decrease of the loss by HR, not the
accuracy of a classifier; and the cost of a tile is a Lagrange multiplier that follows the acquired
share, so that the budget is satisfied (the fixed penalty of the paper does not ensure this).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import nn

from foveate.errors import DataError, ParameterError
from foveate.models.fit import FitSettings, fit
from foveate.models.weights import random_weights
from foveate.observe import dense
from foveate.observe.networks.heads import LabelHead, fit_labels
from foveate.observe.networks.lr_fill import context
from foveate.observe.networks.sampler import Sampler
from foveate.observe.training.crossfit import crossfitted
from foveate.observe.training.stages import fill_of, scores_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.models.fit import History
    from foveate.observe.data.concepts import Concept
    from foveate.observe.networks.lr_fill import Fill
    from foveate.observe.networks.sizes import Shape
    from foveate.observe.training.dataset import TrainingData
    from foveate.progress import ProgressFn

STRENGTH = 0.1  # C of the student, as for the classifiers trained with labels
_LEAST = 1e-6  # smaller ranges of probabilities are treated as constant


@dataclass(frozen=True, eq=False)
class Distilled:
    """The two LR models of SAR.

    Attributes:
        teacher: Model on LR, trained with labels.
        student: Model on LR, distilled from the HR model.
        shape: Sizes of the tokens.
    """

    teacher: LabelHead
    student: LabelHead
    shape: Shape

    @property
    def names(self) -> tuple[str, ...]:
        """The K concepts."""
        return self.teacher.names

    def __call__(
        self, lr: NDArray[np.floating], place: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float64]]:
        """Return the inputs of the policy "sar".

        Args:
            lr: (s, R * r, C * r, lr_dim) projected LR tokens.
            place: (n, 3) scene index, row and column of each tile.

        Returns:
            "student" and "teacher": (n, K) probabilities.
        """
        x = lr_features(lr, self.shape, place)
        return {
            name: np.asarray(head.probabilities(x), np.float64)
            for name, head in (("student", self.student), ("teacher", self.teacher))
        }


def distil(material: TrainingData) -> Distilled:
    """Fit both models on the training scenes.

    Args:
        material: Features, labels, and the HR model: the classifiers on HR tokens.

    Raises:
        DataError: There are no labels.
    """
    if material.labels is None or material.known is None:
        raise DataError(
            "SAR models without labels",
            "The teacher is trained with labels.",
            "Prepare the pairs with labels: --masks MASKS --concepts FILE.",
        )
    train = material.scenes("train")
    rows = material.tiles(train)
    lr = material.data.take(train).lr.float().numpy()
    x = lr_features(lr, material.shape, material.places(train))
    names = material.labels.names
    soft = material.labels.probabilities(material.means(rows))
    return Distilled(
        fit_labels(x, material.known[rows], names), fit_soft(x, soft, names), material.shape
    )


def fit_soft(
    x: NDArray[np.floating], probabilities: NDArray[np.floating], names: tuple[str, ...]
) -> LabelHead:
    """Fit a classifier per concept to the probabilities of another model.

    Each row is a positive sample with the weight of its probability p, and a negative sample with
    1 - p: the cross-entropy of distillation at temperature 1 (Hinton et al. 2015, section 2).

    Args:
        x: (n, d) features.
        probabilities: (n, K) probabilities of the other model.
        names: The K concepts. Those with constant probabilities get a constant prediction.
    """
    from sklearn.linear_model import LogisticRegression

    n, d = x.shape
    p = np.clip(np.asarray(probabilities, np.float64), _LEAST, 1 - _LEAST)
    doubled, truth = np.concatenate([x, x]), np.repeat([True, False], n)
    weight, bias = np.zeros((len(names), d), np.float32), np.zeros(len(names), np.float32)
    for k in range(len(names)):
        if np.ptp(p[:, k]) < _LEAST:
            share = float(p[:, k].mean())
            bias[k] = np.log(share / (1 - share))
            continue
        shares = np.concatenate([p[:, k], 1 - p[:, k]])
        fitted = LogisticRegression(C=STRENGTH, max_iter=500).fit(
            doubled, truth, sample_weight=shares
        )
        weight[k], bias[k] = fitted.coef_[0], fitted.intercept_[0]
    return LabelHead(names, weight, bias)


def needs_hr(
    concepts: Sequence[Concept],
    gsd: float | None,
    decide: Callable[[Concept], bool] | None = None,
) -> NDArray[np.bool_]:
    """Return the mask of concepts that need HR: the option ``needs_hr`` of the policy "sar".

    Args:
        concepts: K concepts.
        gsd: GSD of LR in metres, or None if unknown.
        decide: Function that decides for each concept instead (a language model, a person).

    Returns:
        (K,) bool; by default False if the GSD is at most `Concept.min_gsd`. HR is needed if one
        of the two is not known.
    """
    if decide is not None:
        return np.array([bool(decide(concept)) for concept in concepts], bool)
    return np.array([
        gsd is None or concept.min_gsd is None or gsd > concept.min_gsd for concept in concepts
    ], bool)  # fmt: skip


@torch.no_grad()
def lr_features(
    lr: NDArray[np.floating], shape: Shape, place: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the features (n, d) of tiles: LR tokens of the tile, its neighbours and its scene.

    Args:
        lr: (s, R * r, C * r, lr_dim) LR tokens.
        shape: Sizes.
        place: (n, 3) scene, row and column of each tile.
    """
    tokens = torch.from_numpy(np.ascontiguousarray(lr, np.float32))
    parts = [context(tokens[[i]], shape)[0].numpy() for i in range(len(tokens))]
    return dense.from_grids(np.stack(parts), place)


RewardKind = Literal["tiles", "scene"]
_STEP = 0.1  # step of the multiplier per excess share, in standard deviations of the gain
_PULL = 4.0  # immediate penalty per excess share, in the same unit
_BOUND = 3.0  # bound of logits: saturated policies would stop learning
_OFF = 20.0  # penalty per excess share in the validation score
_SURE = 1e-6  # minimum distance of probabilities from 0 and 1


class PatchDropNet(nn.Module):
    """A sampler with one head, and the Lagrange multiplier of its training.

    It learns from the reward only: it has no concept probe, and its linear part remains 0.

    Args:
        shape: Sizes; ensemble and concepts are ignored.
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
    """Inputs of a policy, and the outcomes of its actions.

    Attributes:
        lr: (s, R * r, C * r, lr_dim) LR tokens.
        fill: (s, R * k, C * k, hr_dim) LR fill: HR tokens predicted from them.
        low: (s, R, C, K) probabilities of the concepts from the fill.
        high: (s, R, C, K) probabilities of the concepts from HR.
        present: (s, R, C, K) bool labels.
        valid: (s, R, C) bool mask of existing tiles.
    """

    lr: torch.Tensor
    fill: torch.Tensor
    low: NDArray[np.floating]
    high: NDArray[np.floating]
    present: NDArray[np.bool_]
    valid: NDArray[np.bool_]

    def gain(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the decrease (s, R, C) of the cross-entropy of each tile by HR; 0 if missing."""
        low, high = (_entropy(p, self.present) @ weights for p in (self.low, self.high))
        return np.where(self.valid, low - high, 0.0)


class PolicyTask:
    """Training of a policy; see `foveate.models.fit.Task`.

    Args:
        net: The policy.
        train: Training scenes.
        val: Validation scenes, which select the epoch.
        device: Device of the training.
        obr: Maximum acquired share of the tiles.
        weights: (K,) weights of the concepts.
        reward: "tiles": decrease of the cross-entropy of the concepts of each tile, credited to
            its own action, since it does not depend on the others; "scene": that of the scene,
            which contains a concept if one of its tiles does, for all its actions together.
        alpha: Exploration: p is replaced by alpha p + (1 - alpha)(1 - p) in training, so that
            tiles of low value are acquired sometimes.
    """

    def __init__(
        self, net: PatchDropNet, train: Scenes, val: Scenes, device: torch.device, *, obr: float,
        weights: NDArray[np.float64], reward: RewardKind = "tiles", alpha: float = 0.8,
    ) -> None:  # fmt: skip
        self.net = net.to(device)
        self.rows = len(train.lr)
        self._train, self._val, self._device = train, val, device
        self._obr, self._weights, self._reward, self._alpha = obr, weights, reward, alpha
        # With bounded logits, the extreme probabilities are e and 1 - e.
        least = float(1 / (1 + np.exp(_BOUND)))
        self._used = least + (1 - 2 * least) * obr
        gains = tuple(scenes.gain(weights) for scenes in (train, val))
        self._unit = max(float(gains[0][train.valid].std()), 1e-12)
        self._gains = tuple(gain / self._unit for gain in gains)

    def loss(self, rows: NDArray[np.int64], draw: np.random.Generator) -> torch.Tensor:
        """Return the self-critical policy gradient loss of scenes."""
        part = self._train
        logits = self._logits(part, rows)
        p = logits.sigmoid()
        tried = self._alpha * p + (1 - self._alpha) * (1 - p)
        valid = part.valid[rows]
        action = (draw.random(valid.shape) < tried.detach().cpu().numpy()) & valid
        greedy = (p.detach().cpu().numpy() > 0.5) & valid
        price = self._price(p.detach().cpu().numpy(), valid)
        size = np.maximum(valid.sum(axis=(1, 2), keepdims=True), 1)
        changed = action.astype(float) - greedy
        if self._reward == "tiles":
            advantage = changed * (self._gains[0][rows] - price)
        else:
            reward = self._scene(rows, action) - self._scene(rows, greedy)
            advantage = reward[:, None, None] - changed * price  # the price is per tile
        taken = torch.from_numpy(action).to(self._device)
        log = torch.where(taken, tried.clamp(min=_SURE).log(), (1 - tried).clamp(min=_SURE).log())
        credit = torch.from_numpy(np.where(valid, advantage / size, 0.0)).to(log)
        return -(credit * log).sum() / len(rows)

    def validate(self) -> dict[str, float]:
        """Return measures of the actions on the validation scenes.

        "score": gain relative to that of the best tiles of the budget, minus the penalty of the
        excess share; "share": the acquired share; "gain": mean decrease of the loss per tile, in
        the unit of the loss; "price": the multiplier, in the same unit.
        """
        rows, valid = np.arange(len(self._val.lr)), self._val.valid
        chosen = (self._logits(self._val, rows) > 0).cpu().numpy() & valid
        gain = self._gains[1]
        share = float(chosen.sum() / max(valid.sum(), 1))
        best = np.sort(gain[valid])[::-1][: max(1, round(self._obr * valid.sum()))]
        largest = float(np.maximum(best, 0).sum())
        captured = float(gain[chosen].sum()) / largest if largest > 0 else 0.0
        return {
            "score": min(captured, 1.0) - _OFF * abs(share - self._obr),
            "share": share,
            "gain": float(gain[chosen].sum() / max(valid.sum(), 1)) * self._unit,
            "price": float(self.net.price) * self._unit,
        }

    @torch.no_grad()
    def _price(self, p: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
        """Return the current price of a tile, and update the multiplier with the acquired share.

        The augmented Lagrangian (Hestenes 1969): the current excess is penalised in addition to
        the multiplier, which alone would oscillate because the network follows it with a delay.
        """
        if valid.any():
            self.net.price += _STEP * (float((p[valid] > 0.5).mean()) - self._obr)
            pull = _PULL * (float(p[valid].mean()) - self._used)
        else:
            pull = 0.0
        return float(self.net.price) + pull

    def _scene(self, rows: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the decrease (b,) of the cross-entropy of scenes by the acquired tiles."""
        part = self._train
        truth = (part.present[rows] & part.valid[rows][..., None]).any(axis=(1, 2))
        losses = []
        for mask in (np.zeros_like(chosen), chosen):
            p = np.where(mask[..., None], part.high[rows], part.low[rows])
            p = np.where(part.valid[rows][..., None], p, 0.0).max(axis=(1, 2))
            losses.append(_entropy(p, truth) @ self._weights)
        return (losses[0] - losses[1]) / self._unit

    def _logits(self, scenes: Scenes, rows: NDArray[np.integer]) -> torch.Tensor:
        at = torch.from_numpy(np.asarray(rows, np.int64))
        lr, fill = (x[at].to(self._device).float() for x in (scenes.lr, scenes.fill))
        return self.net(lr, fill)


def new_patchdrop_net(shape: Shape, seed: int, obr: float = 0.5) -> PatchDropNet:
    """Return a policy with seeded weights and initial probabilities near the budget."""
    net = random_weights(lambda: PatchDropNet(shape), seed)
    nn.init.constant_(net.sampler.outlets[0].bias, float(np.log(obr / (1 - obr))))
    return net


def _entropy(p: NDArray[np.floating], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the elementwise cross-entropy of probabilities."""
    clipped = np.clip(np.asarray(p, np.float64), _SURE, 1 - _SURE)
    return -np.where(present, np.log(clipped), np.log1p(-clipped))


SETTINGS = FitSettings(epochs=60, batch_size=8, learning_rate=3e-3, weight_decay=0.0)


def train_patchdrop(
    material: TrainingData,
    obr: float,
    device: torch.device,
    seed: int = 0,
    *,
    fill: Fill,
    strength: float = 0.1,
    reward: RewardKind = "tiles",
    alpha: float = 0.8,
    settings: FitSettings = SETTINGS,
    checkpoint: Path | None = None,
    progress: ProgressFn | None = None,
) -> tuple[Sampler, History]:
    """Train a policy on the training scenes; the validation scenes select the epoch.

    Args:
        material: Features, labels and concepts.
        obr: Maximum acquired share of the tiles, in (0, 1).
        device: Device of the training.
        seed: Seed of weights, order and actions.
        fill: The trained LR fill.
        strength: Ridge strength of the cross-fitted fills of the training scenes.
        reward: "tiles" or "scene"; see `PolicyTask`.
        alpha: Exploration, in (0.5, 1]; see `PolicyTask`.
        settings: Settings of the training; `seed` replaces their seed.
        checkpoint: Checkpoint; interrupted trainings resume and end with the same weights.
        progress: Called with ticks.

    Returns:
        A sampler with one head, and the history of the training: its epochs have "share", "gain"
        and "price".

    Raises:
        DataError: There are no labels for the reward.
        ParameterError: `obr` or `alpha` is out of range.
    """
    if not 0 < obr < 1:
        raise ParameterError(f"obr={obr}", "It must be above 0 and below 1.", "Set obr=0.12.")
    if not 0.5 < alpha <= 1:
        raise ParameterError(
            f"alpha={alpha}", "It must be above 0.5 and at most 1.", "Set alpha=0.8."
        )
    if material.labels is None or material.known is None:
        raise DataError(
            "PatchDrop without labels",
            "Its reward needs the labels of concepts.",
            "Prepare the pairs with labels: --masks MASKS --concepts FILE.",
        )
    train, val = (material.scenes(split) for split in ("train", "val"))
    groups = [material.pairs.groups[i] for i in train]
    crossed = crossfitted(material.shape, material.data.take(train), groups, strength, seed)
    net: PatchDropNet = new_patchdrop_net(material.shape, seed, obr)
    task = PolicyTask(
        net, _scenes(material, train, crossed),
        _scenes(material, val, fill_of(fill, material.data.take(val).lr)), device,
        obr=obr, weights=material.weights(), reward=reward, alpha=alpha,
    )  # fmt: skip
    history = fit(
        task, replace(settings, seed=seed), checkpoint=checkpoint,
        key=f"patchdrop/{obr}/{reward}/{alpha}/{strength}", title="training PatchDrop",
        progress=progress,
    )  # fmt: skip
    return net.sampler.eval(), history


def patchdrop_scores(net: Sampler, fill: Fill, lr: torch.Tensor) -> NDArray[np.float64]:
    """Return the probabilities of acquisition, (s, R, C).

    Args:
        net: Of `train_patchdrop`.
        fill: The LR fill that it was trained with.
        lr: (s, R * r, C * r, lr_dim) projected LR tokens.
    """
    return scores_of(net, fill, lr, next(net.parameters()).device)


def _scenes(material: TrainingData, numbers: NDArray[np.int64], fill: torch.Tensor) -> Scenes:
    labels, known = material.labels, material.known
    assert labels is not None  # noqa: S101  (checked by the caller)
    assert known is not None  # noqa: S101
    data, side = material.data.take(numbers), material.shape.hr_side
    place = material.places(numbers)
    present = dense.to_grids(known[material.tiles(numbers)], place, data.valid.shape)
    low, high = (
        labels.probabilities(dense.to_tiles(tokens.float().numpy(), side).mean(axis=3))
        for tokens in (fill, data.hr)
    )
    return Scenes(data.lr, fill, low, high, present, data.valid)
