"""Training tasks for `fit`: the fill, the predictor and the sampler, on stored features.

All scenes of a training set have one grid shape. Features are kept in half precision on the CPU and
copied to the device in batches, so that the set need not fit into device memory. Masks of observed
tiles are random, rectangular blocks, or made by the sampler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from foveate.errors import ParameterError
from foveate.models.weights import random_weights
from foveate.observe.networks.losses import (
    alignment_loss,
    centred_cosine,
    regression_loss,
    representation_loss,
    sampler_loss,
)
from foveate.observe.networks.lr_fill import Ridge, cross_validated_strength, repeat
from foveate.observe.networks.predictor import Aligned, Predictor
from foveate.observe.networks.sampler import Sampler
from foveate.observe.networks.sizes import OBSERVED_WEIGHT
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.observe.networks.lr_fill import Fill
    from foveate.observe.networks.sizes import Architecture, Shape

MIN_OBSERVED, MAX_OBSERVED = 0.02, 0.5  # observed ratio of the tiles in training
_EXTREMES = 0.05  # share of masks without observed tiles, and of masks with all tiles observed
_BLOCKY = 0.3  # share of masks that are blocks, the usual shape of acquisitions


def random_masks(valid: NDArray[np.bool_], draw: np.random.Generator) -> NDArray[np.bool_]:
    """Draw random masks of observed tiles (stage I).

    Args:
        valid: (b, R, C) bool mask of valid tiles.
        draw: Random generator.

    Returns:
        (b, R, C) bool mask of observed tiles.
    """
    masks = np.stack([_mask(tiles, draw) for tiles in valid])
    return masks & valid


def sampled_masks(
    valid: NDArray[np.bool_], scores: NDArray[np.floating], draw: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw masks of the sampler: the best tiles of the batch at a random observed ratio (stage II).

    Half of the masks are random, so that the predictor does not forget other selections.

    Args:
        valid: (b, R, C) bool mask of valid tiles.
        scores: (b, R, C) scores of the sampler.
        draw: Random generator.

    Returns:
        (b, R, C) bool mask of observed tiles.
    """
    share = draw.uniform(MIN_OBSERVED, MAX_OBSERVED)
    valid_scores = scores[valid]
    best = valid & (scores > np.quantile(valid_scores, 1 - share)) if valid_scores.size else valid
    at_random = draw.random(len(valid)) < 0.5
    return np.where(at_random[:, None, None], random_masks(valid, draw), best)


def _mask(valid: NDArray[np.bool_], draw: np.random.Generator) -> NDArray[np.bool_]:
    kind = draw.random()
    if kind < _EXTREMES:
        return np.zeros_like(valid)
    if kind < 2 * _EXTREMES:
        return np.ones_like(valid)
    share = draw.uniform(MIN_OBSERVED, MAX_OBSERVED)
    if draw.random() < _BLOCKY:
        return _blocks(valid.shape, share, draw)
    return draw.random(valid.shape) < share


def _blocks(shape: tuple[int, ...], share: float, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Return rectangles that together cover at least a share of the grid."""
    mask = np.zeros(shape, bool)
    while mask.mean() < share:
        sides = [int(draw.integers(1, max(2, n // 2 + 1))) for n in shape]
        corner = [int(draw.integers(0, n - s + 1)) for n, s in zip(shape, sides, strict=True)]
        mask[corner[0] : corner[0] + sides[0], corner[1] : corner[1] + sides[1]] = True
    return mask


VALIDATED = (0.05, 0.12, 0.3)  # observed ratios of the validation
_ALIGNMENT = 0.1  # weight of Eq. 9 relative to Eq. 8
_AT_ONCE = 64  # scenes


@dataclass(frozen=True)
class Data:
    """Features of scenes with one grid shape.

    Attributes:
        lr: (s, R * r, C * r, lr_dim) LR tokens.
        hr: (s, R * k, C * k, hr_dim) HR tokens, the input of the predictor.
        target: (s, R * k, C * k, hr_dim) target tokens; `hr` unless there is a target model.
        valid: (s, R, C) bool mask of valid tiles.
    """

    lr: torch.Tensor
    hr: torch.Tensor
    target: torch.Tensor
    valid: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.lr)

    def take(self, rows: NDArray[np.integer]) -> Data:
        """Return a subset of scenes."""
        index = torch.from_numpy(np.asarray(rows, np.int64))
        return Data(self.lr[index], self.hr[index], self.target[index], self.valid[rows])

    def weight(self, rows: NDArray[np.integer], side: int, device: torch.device) -> torch.Tensor:
        """Return (b, R * side, C * side) float weights: 1 for tokens of valid tiles, else 0."""
        return repeat(torch.from_numpy(self.valid[rows]).to(device), side).float()

    def batch(
        self, rows: NDArray[np.integer], device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return LR, HR and target tokens of a batch of scenes in float32 on the device."""
        index = torch.from_numpy(np.asarray(rows, np.int64))
        lr, hr, target = (x[index].to(device).float() for x in (self.lr, self.hr, self.target))
        return lr, hr, target


class FillTask:
    """Training task of an LR fill after its linear solution; see `foveate.models.fit.Task`.

    Args:
        net: The LR fill, with its linear part solved.
        train: Training scenes.
        val: Validation scenes, for early stopping.
        device: Device of the training.
        norm: Weight of the smooth L1 term of the loss; 0: only the cosine (Eq. 8).
    """

    def __init__(
        self, net: Fill, train: Data, val: Data, device: torch.device, *, norm: float = 0.5
    ) -> None:
        self.net = net.to(device)
        self.rows = len(train)
        self._train, self._val, self._device, self._norm = train, val, device, norm

    def loss(self, rows: NDArray[np.int64], draw: np.random.Generator) -> torch.Tensor:
        """Return the representation loss of the fill."""
        del draw  # the only randomness is dropout
        lr, _, target = self._train.batch(rows, self._device)
        weight = self._train.weight(rows, self.net.shape.hr_side, self._device)
        return representation_loss(self.net(lr), target, _centre(target), weight, norm=self._norm)

    def validate(self) -> dict[str, float]:
        """Return the mean cosine of predicted and true tokens."""
        side, total, n = self.net.shape.hr_side, 0.0, 0
        for start in range(0, len(self._val), _AT_ONCE):
            rows = np.arange(start, min(len(self._val), start + _AT_ONCE))
            lr, _, target = self._val.batch(rows, self._device)
            weight = self._val.weight(rows, side, self._device)
            cosine = centred_cosine(self.net(lr), target, _centre(target))
            total, n = total + float((weight * cosine).sum()), n + float(weight.sum())
        return {"score": total / max(1.0, n)}


class PredictorTask:
    """Training task of a predictor; see `foveate.models.fit.Task`.

    The LR fill is frozen, so that the gain of completion can be measured against it.

    Args:
        net: The predictor with a trained fill; or `Aligned`, to train with texts, too.
        train: Training scenes.
        val: Validation scenes, for early stopping.
        device: Device of the training.
        scores: (s, R, C) scores of the sampler for the training scenes, for masks of the sampler
            (stage II); None for random masks (stage I).
        norm: Weight of the smooth L1 term of the loss; 0: only the cosine (Eq. 8).
        observed: Loss weight of observed tokens, relative to unobserved tokens; 1 is Eq. 8.
        kriging: Whether to train the kriging only.
        has: (s, K) bool concepts of the training scenes, and of the validation scenes, for
            `Aligned`.
        alone: Whether `Aligned` is trained with the texts only (Eq. 9 without Eq. 8).
        seed: Seed of the fixed masks of the validation.

    Raises:
        ParameterError: `kriging` is true for a predictor without kriging.
    """

    def __init__(
        self,
        net: Predictor | Aligned,
        train: Data,
        val: Data,
        device: torch.device,
        *,
        scores: NDArray[np.floating] | None = None,
        norm: float = 0.5,
        observed: float = OBSERVED_WEIGHT,
        kriging: bool = False,
        has: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None,
        alone: bool = False,
        seed: int = 0,
    ) -> None:
        self.net = net.to(device)
        self._alone = alone
        self._predictor = predictor = net.predictor if isinstance(net, Aligned) else net
        self._has = has
        net.requires_grad_(requires_grad=True)
        predictor.fill.requires_grad_(requires_grad=False)
        if kriging:  # trained separately, since its few parameters need another learning rate
            if predictor.kriging is None:
                raise ParameterError(
                    "kriging=True for a predictor without kriging",
                    "The predictor has no kriging parameters to train.",
                    'Use architecture_of("kriged").',
                )
            net.requires_grad_(requires_grad=False)
            predictor.kriging.requires_grad_(requires_grad=True)
        self.rows = len(train)
        self._train, self._val, self._device = train, val, device
        self._scores, self._norm, self._observed = scores, norm, observed
        size = val.valid[0].size
        ranks = rng(seed, "observe/validation").permuted(
            np.tile((np.arange(size) + 0.5) / size, (len(val), 1)), axis=1
        )
        self._ranks = ranks.reshape(val.valid.shape)

    def loss(self, rows: NDArray[np.int64], draw: np.random.Generator) -> torch.Tensor:
        """Return the loss of scenes with random masks, or masks of the sampler."""
        predictor, side = self._predictor, self._predictor.shape.hr_side
        predictor.fill.eval()
        valid = self._train.valid[rows]
        if self._scores is None:
            masks = random_masks(valid, draw)
        else:
            masks = sampled_masks(valid, self._scores[rows], draw)
        lr, hr, target = self._train.batch(rows, self._device)
        observed = torch.from_numpy(masks).to(self._device)
        valid_tokens = self._train.weight(rows, side, self._device)
        predictor.update_mean(target[valid_tokens > 0])
        tokens = predictor(lr, hr, observed).tokens
        alignment = tokens.new_zeros(())
        if isinstance(self.net, Aligned) and self._has is not None:
            match = torch.from_numpy(self._has[0][rows]).to(self._device)
            alignment = alignment_loss(self.net.logits(tokens, valid_tokens), match)
        if self._alone:
            return alignment
        observed_tokens = repeat(observed, side).float()
        weight = valid_tokens * (1 - observed_tokens + self._observed * observed_tokens)
        loss = representation_loss(tokens, target, predictor.mu, weight, norm=self._norm)
        return loss + _ALIGNMENT * alignment

    def validate(self) -> dict[str, float]:
        """Return the quality of completed unobserved tiles, and the spread of predictions.

        "score" is the mean centred cosine over the `VALIDATED` ratios; "spread" is the standard
        deviation of predictions divided by that of the targets at unobserved tiles (near 0:
        predictions have collapsed). For `Aligned`, the weighted alignment loss, "texts", is
        subtracted from the score; otherwise an epoch without alignment could be kept.
        """
        cosines, spreads = [], []
        for share in VALIDATED:
            completed, true = self._unobserved(share)
            cosines.append(float(centred_cosine(completed, true, self._predictor.mu).mean()))
            spreads.append(float(_spread(completed) / _spread(true).clamp(min=1e-6)))
        result = {"score": float(np.mean(cosines)), "spread": float(np.mean(spreads))}
        if isinstance(self.net, Aligned) and self._has is not None:
            result["texts"] = self._validate_alignment(self.net, self._has[1])
            dense = 0.0 if self._alone else result["score"]
            result["score"] = dense - (1.0 if self._alone else _ALIGNMENT) * result["texts"]
        return result

    def _validate_alignment(self, net: Aligned, has: NDArray[np.bool_]) -> float:
        """Return the alignment loss of the validation scenes at the middle ratio."""
        share, total = sorted(VALIDATED)[len(VALIDATED) // 2], 0.0
        for start in range(0, len(self._val), _AT_ONCE):
            rows = np.arange(start, min(len(self._val), start + _AT_ONCE))
            lr, hr, _ = self._val.batch(rows, self._device)
            observed = (self._ranks[rows] < share) & self._val.valid[rows]
            tokens = self._predictor(lr, hr, torch.from_numpy(observed).to(self._device)).tokens
            weight = self._val.weight(rows, self._predictor.shape.hr_side, self._device)
            match = torch.from_numpy(has[rows]).to(self._device)
            total += len(rows) * float(alignment_loss(net.logits(tokens, weight), match))
        return total / len(self._val)

    def _unobserved(self, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (n, hr_dim) completed and true tokens of unobserved tiles."""
        side, completed, true = self._predictor.shape.hr_side, [], []
        for start in range(0, len(self._val), _AT_ONCE):
            rows = np.arange(start, min(len(self._val), start + _AT_ONCE))
            lr, hr, target = self._val.batch(rows, self._device)
            observed = (self._ranks[rows] < share) & self._val.valid[rows]
            result = self._predictor(lr, hr, torch.from_numpy(observed).to(self._device))
            unobserved = torch.from_numpy(self._val.valid[rows] & ~observed).to(self._device)
            mask = repeat(unobserved, side)
            completed.append(result.tokens[mask])
            true.append(target[mask])
        return torch.cat(completed), torch.cat(true)


class SamplerTask:
    """Training task of a sampler; see `foveate.models.fit.Task`.

    Args:
        net: The sampler.
        train: Training scenes.
        val: Validation scenes, for early stopping.
        fills: LR fill of both, (s, R * k, C * k, hr_dim) each; cross-fitted for the training
            scenes, since errors of a fill on its own training scenes are too small.
        values: (s, R, C) supervision targets of both, 0 to 1 (Eq. 6).
        device: Device of the training.
        seed: Seed of the bootstrap samples of the ensemble.
    """

    def __init__(  # noqa: PLR0917  (same position of the device as in the other tasks)
        self,
        net: Sampler,
        train: Data,
        val: Data,
        fills: tuple[torch.Tensor, torch.Tensor],
        values: tuple[NDArray[np.floating], NDArray[np.floating]],
        device: torch.device,
        *,
        seed: int = 0,
    ) -> None:
        self.net = net.to(device)
        self.rows = len(train)
        self._train, self._val, self._fills, self._values = train, val, fills, values
        self._device = device
        members = net.shape.ensemble
        drawn = rng(seed, "observe/ensemble").poisson(1.0, (len(train), members))
        drawn[:, ~drawn.any(axis=0)] = 1  # a head without any scene would not be trained
        self._weights = (drawn if members > 1 else np.ones_like(drawn)).astype(np.float32)

    @torch.no_grad()
    def solve(self, strengths: Sequence[float], folds: NDArray[np.integer]) -> float:
        """Set the linear part to its closed form: a ridge regression per head and sample.

        Args:
            strengths: Candidate strengths of the penalty, relative to the variance of each input.
            folds: (s,) folds of the training scenes, for cross-validation of the strength.

        Returns:
            The chosen strength.
        """
        rows = [self._rows(scene) for scene in range(self.rows)]

        def summed(share: NDArray[np.floating]) -> Ridge:
            ridge = Ridge(self.net.linear.in_features, 1)
            for scene in np.flatnonzero(share).tolist():
                ridge.add(*rows[scene], float(share[scene]))
            return ridge

        parts = [summed(np.asarray(folds == fold, float)) for fold in np.unique(folds)]
        best = cross_validated_strength(parts, strengths, "each")
        fits = [summed(share).solve(best, "each") for share in self._weights.T]
        weight, bias = (torch.cat(part) for part in zip(*fits, strict=True))
        # Shift the heads so that their mean is the fit to all scenes.
        mean_weight, mean_bias = summed(np.ones(self.rows)).solve(best, "each")
        self.net.set_linear(weight - weight.mean(0) + mean_weight, bias - bias.mean() + mean_bias)
        return best

    def _rows(self, scene: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs and targets of the linear part for the tiles of a training scene."""
        valid = self._train.valid[scene]
        fill = self._fills[0][[scene]].to(self._device).float()
        values = torch.from_numpy(np.asarray(self._values[0][scene][valid], np.float64))
        return self.net.evidence(fill, valid.shape[0])[0][valid], values[:, None]

    def loss(self, rows: NDArray[np.int64], draw: np.random.Generator) -> torch.Tensor:
        """Return the loss of the scores of scenes, with scene weights per head."""
        del draw  # the only randomness is dropout
        logits = self._logits(self._train, self._fills[0], rows)
        valid = torch.from_numpy(self._train.valid[rows]).to(self._device).flatten(1).float()
        values = torch.from_numpy(np.asarray(self._values[0][rows], np.float32)).to(self._device)
        share = torch.from_numpy(self._weights[rows]).to(self._device)
        total = logits.new_zeros(())
        for member in range(logits.shape[-1]):
            weight = valid * share[:, [member]]
            arguments = logits[..., member].flatten(1), values.flatten(1), weight
            total = total + (
                regression_loss(*arguments) if self.net.shape.plain else sampler_loss(*arguments)
            )
        return total / logits.shape[-1]

    def validate(self) -> dict[str, float]:
        """Return the share of the total value that the best tiles capture, over `VALIDATED`."""
        return {"score": float(self.captured().sum())}

    @torch.no_grad()
    def captured(self) -> NDArray[np.float64]:
        """Return the (s,) contribution of each validation scene to the captured share."""
        rows = np.arange(len(self._val))
        means = self._logits(self._val, self._fills[1], rows).sigmoid().mean(-1)
        scores = means.double().cpu().numpy()[self._val.valid]
        values = np.asarray(self._values[1], np.float64)[self._val.valid]
        scene = np.nonzero(self._val.valid)[0]
        order = np.argsort(-scores, kind="stable")
        total = np.zeros(len(rows))
        for share in VALIDATED:
            best = order[: max(1, int(share * len(order)))]
            total += np.bincount(scene[best], values[best], len(rows))
        return total / (len(VALIDATED) * max(values.sum(), 1e-12))

    def _logits(self, data: Data, fill: torch.Tensor, rows: NDArray[np.integer]) -> torch.Tensor:
        index = torch.from_numpy(np.asarray(rows, np.int64))
        lr = data.lr[index].to(self._device).float()
        return self.net(lr, fill[index].to(self._device).float())


def new_predictor(shape: Shape, form: Architecture, *, conv_fill: bool, seed: int) -> Predictor:
    """Return a predictor with seeded initial weights."""
    return random_weights(lambda: Predictor(shape, form, conv_fill=conv_fill), seed)


def new_sampler(shape: Shape, seed: int) -> Sampler:
    """Return a sampler with seeded initial weights."""
    return random_weights(lambda: Sampler(shape), seed)


def _spread(tokens: torch.Tensor) -> torch.Tensor:
    return tokens.std(0, correction=0).mean()


def _centre(target: torch.Tensor) -> torch.Tensor:
    """Return the mean of the features: zero, since they are stored centred."""
    return target.new_zeros(target.shape[-1])
