"""Baselines that need training: the models that SAR compares, and PatchDrop.

SAR, scale-aware recognition (Revankar et al. 2025), as far as its paper tells: a model on LR is
learnt from labels (the teacher of the policy's evidence), a student on LR is taught what the HR
model says, and HR is acquired where the two disagree on concepts that need it. Deviations: both are
linear over the tokens of a tile, its neighbours and its scene, as the LR fill is; which concepts
need HR is given by `Concept.min_gsd` or by a function, where the paper asks a language model.

PatchDrop: Uzkent and Ermon 2020, "Learning When and Where to Zoom with Deep Reinforcement
Learning", section 4: a network reads LR and gives each tile the probability of being acquired;
REINFORCE (Williams 1992) with a self-critical baseline (Rennie et al. 2017), the reward of the
network's own best choice, trains it. Deviations: the reward is the loss that HR spares, not the
hits of a classifier; and the cost of a tile is a Lagrange multiplier that follows the share in use,
so that a budget is met (the paper's fixed penalty meets none).
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
from foveate.observe.crossfit import crossfitted
from foveate.observe.heads import LabelHead, fit_labels
from foveate.observe.networks.lr_fill import context
from foveate.observe.networks.sampler import Sampler
from foveate.observe.stages import fill_of, scores_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.models.fit import History
    from foveate.observe.concepts import Concept
    from foveate.observe.dataset import TrainingData
    from foveate.observe.networks.lr_fill import Fill
    from foveate.observe.networks.sizes import Shape
    from foveate.progress import ProgressFn

STRENGTH = 0.1  # C of the student, as that of the classifiers from labels
_LEAST = 1e-6  # a share below which the HR model says the same of all tiles


@dataclass(frozen=True, eq=False)
class Distilled:
    """The two models.

    Attributes:
        teacher: From LR, learnt from labels.
        student: From LR, taught by the HR model.
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
        """Return what the policy "sar" needs.

        Args:
            lr: (s, R * r, C * r, lr_dim) reduced LR tokens.
            place: (n, 3) scene among these, row and column of each tile.

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
        material: Features, labels, and the HR model: the classifiers from labels on HR tokens.

    Raises:
        DataError: There are no labels.
    """
    if material.labels is None or material.known is None:
        raise DataError(
            "two models of concepts without labels",
            "One of them is learnt from labels.",
            "Prepare the pairs with labels: --masks MASKS --concepts FILE.",
        )
    train = material.scenes("train")
    rows = material.tiles(train)
    lr = material.data.take(train).lr.float().numpy()
    x = lr_features(lr, material.shape, material.places(train))
    names = material.labels.names
    taught = material.labels.probabilities(material.means(rows))
    return Distilled(
        fit_labels(x, material.known[rows], names), fit_soft(x, taught, names), material.shape
    )


def fit_soft(
    x: NDArray[np.floating], probabilities: NDArray[np.floating], names: tuple[str, ...]
) -> LabelHead:
    """Fit a classifier for each concept to probabilities that another model gives.

    Each row counts as positive by its probability, and as negative by the rest: the cross-entropy
    of distillation at temperature 1 (Hinton et al. 2015, section 2).

    Args:
        x: (n, d) features.
        probabilities: (n, K) what the other model says.
        names: The K concepts. One that it says the same of everywhere gets that and nothing else.
    """
    from sklearn.linear_model import LogisticRegression

    n, d = x.shape
    p = np.clip(np.asarray(probabilities, np.float64), _LEAST, 1 - _LEAST)
    twice, truth = np.concatenate([x, x]), np.repeat([True, False], n)
    weight, bias = np.zeros((len(names), d), np.float32), np.zeros(len(names), np.float32)
    for k in range(len(names)):
        if np.ptp(p[:, k]) < _LEAST:
            share = float(p[:, k].mean())
            bias[k] = np.log(share / (1 - share))
            continue
        shares = np.concatenate([p[:, k], 1 - p[:, k]])
        fitted = LogisticRegression(C=STRENGTH, max_iter=500).fit(
            twice, truth, sample_weight=shares
        )
        weight[k], bias[k] = fitted.coef_[0], fitted.intercept_[0]
    return LabelHead(names, weight, bias)


def needs_hr(
    concepts: Sequence[Concept],
    gsd: float | None,
    judge: Callable[[Concept], bool] | None = None,
) -> NDArray[np.bool_]:
    """Say for which concepts HR is needed: the option ``needs_hr`` of the policy "sar".

    Args:
        concepts: K concepts.
        gsd: Metres of an LR pixel, or None where that is not known.
        judge: Decides instead, concept by concept (a language model, a person).

    Returns:
        (K,) bool; by `Concept.min_gsd` False where LR is that fine. Where the one or the other is
        not known, HR is needed.
    """
    if judge is not None:
        return np.array([bool(judge(concept)) for concept in concepts], bool)
    return np.array([
        gsd is None or concept.min_gsd is None or gsd > concept.min_gsd for concept in concepts
    ], bool)  # fmt: skip


@torch.no_grad()
def lr_features(
    lr: NDArray[np.floating], shape: Shape, place: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return (n, features) of tiles: their LR tokens, their neighbours', the scene's.

    Args:
        lr: (s, R * r, C * r, lr_dim) LR tokens.
        shape: Sizes.
        place: (n, 3) scene, row and column of each tile.
    """
    tokens = torch.from_numpy(np.ascontiguousarray(lr, np.float32))
    parts = [context(tokens[[i]], shape)[0].numpy() for i in range(len(tokens))]
    return dense.from_grids(np.stack(parts), place)


RewardKind = Literal["tiles", "scene"]
_STEP = 0.1  # of the multiplier for a share off the budget, in standard deviations of the gain
_PULL = 4.0  # what a share off the budget adds to the multiplier at once, in the same
_BOUND = 3.0  # of logits: a policy that is too sure would learn nothing more
_OFF = 20.0  # what a share off the budget costs where epochs are compared
_SURE = 1e-6


class PatchDropNet(nn.Module):
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
        self, net: PatchDropNet, train: Scenes, val: Scenes, device: torch.device, *, obr: float,
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


def new_patchdrop_net(shape: Shape, seed: int, obr: float = 0.5) -> PatchDropNet:
    """Return a policy with seeded first weights, whose first probabilities are about the budget."""
    net = random_weights(lambda: PatchDropNet(shape), seed)
    nn.init.constant_(net.sampler.outlets[0].bias, float(np.log(obr / (1 - obr))))
    return net


def _entropy(p: NDArray[np.floating], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the cross-entropy of probabilities, element by element."""
    sure = np.clip(np.asarray(p, np.float64), _SURE, 1 - _SURE)
    return -np.where(present, np.log(sure), np.log1p(-sure))


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
    """Train a policy on the training scenes; the validation scenes choose the epoch.

    Args:
        material: Features, labels and concepts.
        obr: Share of the tiles that may be acquired, above 0 and below 1.
        device: Where to train.
        seed: Of weights, order and actions.
        fill: The trained LR fill.
        strength: Of the ridge of the fills that tell training scenes without knowing them.
        reward: "tiles" or "scene"; see `PolicyTask`.
        alpha: Exploration, above 0.5 up to 1; see `PolicyTask`.
        settings: Of the training; the seed is set here.
        checkpoint: Keeps the state: a training that was killed goes on to the same weights.
        progress: Called with ticks.

    Returns:
        A sampler with one head, and how the training went: its epochs have "share", "gain" and
        "price".

    Raises:
        DataError: There are no labels, which make the reward.
        ParameterError: An impossible share or exploration.
    """
    if not 0 < obr < 1:
        raise ParameterError(f"obr={obr}", "It is a share above 0 and below 1.", "obr=0.12")
    if not 0.5 < alpha <= 1:
        raise ParameterError(f"alpha={alpha}", "It is above 0.5 and up to 1.", "alpha=0.8")
    if material.labels is None or material.known is None:
        raise DataError(
            "a reward without labels",
            "PatchDrop is rewarded for concepts that are told right.",
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
        lr: (s, R * r, C * r, lr_dim) reduced LR tokens.
    """
    return scores_of(net, fill, lr, next(net.parameters()).device)


def _scenes(material: TrainingData, numbers: NDArray[np.int64], fill: torch.Tensor) -> Scenes:
    labels, known = material.labels, material.known
    assert labels is not None  # noqa: S101  (asked by the caller)
    assert known is not None  # noqa: S101
    data, side = material.data.take(numbers), material.shape.hr_side
    place = material.places(numbers)
    present = dense.to_grids(known[material.tiles(numbers)], place, data.here.shape)
    low, high = (
        labels.probabilities(dense.to_tiles(tokens.float().numpy(), side).mean(axis=3))
        for tokens in (fill, data.hr)
    )
    return Scenes(data.lr, fill, low, high, present, data.here)
