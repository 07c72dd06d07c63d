"""Cross-fitting by groups of scenes, and the sampler targets computed on features (section 4.2).

A group of scenes is never divided between training, validation and test. The prediction of a tile
from the overview is its LR fill. For training scenes the fill is cross-fitted (fitted on other
scenes), since a fill of the same scenes would overfit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from foveate.models.weights import random_weights
from foveate.observe.networks.heads import similarity_scores
from foveate.observe.networks.lr_fill import Fill, solve
from foveate.observe.scoring.targets import (
    TARGETS,
    Scale,
    Similarity,
    combine,
    semantic_gain,
    surprise,
    task_delta,
)
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.models.heads import Head
    from foveate.observe.networks.sizes import Shape
    from foveate.observe.networks.tasks import Data


def folds_of(groups: Sequence[str], count: int, seed: int) -> NDArray[np.int64]:
    """Return (s,) fold numbers for cross-fitting by group, with at least two folds.

    If all scenes are in one group, the scenes themselves are divided.
    """
    names = sorted(set(groups))
    units = list(groups) if len(names) > 1 else [str(i) for i in range(len(groups))]
    names = sorted(set(units))
    order = rng(seed, "observe/folds").permutation(len(names))
    number = {names[i]: int(k) % min(count, len(names)) for k, i in enumerate(order)}
    return np.array([number[unit] for unit in units])


_FOLDS = 4
_MIN_MEAN = 1e-9  # avoids division by 0 if all values are 0
_EPS = 1e-6  # probabilities are clipped to [eps, 1 - eps]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Inputs of supervision targets, one row per tile.

    Attributes:
        saliency: (n,) structural saliency of the HR tile.
        hr: (n, t, d) HR tokens.
        fill: (n, t, d) LR fill, the HR tokens predicted from the overview.
        reference: (n, d) mean token of the reference: the LR fill of the tile, or of the scene.
        scene: (n,) number of the scene.
        present: (n, K) bool labels, or None.
        vectors: (n, e) embeddings by the text model of the HR tiles, and of the overviews of their
            scenes: F^h and F^g of Eq. 5. None: `hr` and `reference` are used.
    """

    saliency: NDArray[np.floating]
    hr: NDArray[np.floating]
    fill: NDArray[np.floating]
    reference: NDArray[np.floating]
    scene: NDArray[np.int64]
    present: NDArray[np.bool_] | None
    vectors: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None


@dataclass(frozen=True)
class TargetSettings:
    """Settings of the gain and the targets (Eq. 5 and 6).

    Attributes:
        similarity: "lift", "z", "cosine" or "logit"; see `foveate.observe.scoring.targets`.
        lam: Weight of the reference.
        over: Aggregation of the gain over concepts: "sum" or "max".
        scale: Scaling of targets to [0, 1]; see `foveate.observe.scoring.targets`.
        factors: Scaling of the factors: "quantile", or "none" (Eq. 6 as published).
    """

    similarity: str = "lift"
    lam: float = 1.0
    over: str = "sum"
    scale: str = "quantile"
    factors: str = "quantile"


class Targets:
    """All supervision targets, with scales fitted on the training tiles.

    Args:
        train: Evidence of the training scenes.
        head: Concept classifiers of mean tokens, or None for no semantic gain.
        weights: (K,) weights of the concepts; 0 for concepts that are visible in LR.
        settings: Settings of gain and targets.
    """

    def __init__(
        self, train: Evidence, head: Head | None, weights: NDArray[np.float64],
        settings: TargetSettings,
    ) -> None:  # fmt: skip
        self._head, self._weights, self._settings = head, weights, settings
        self._similarity: Similarity | None = None
        if head is not None:
            self._similarity = Similarity.fit(*self._scores(train), kind=settings.similarity)  # ty: ignore[invalid-argument-type]
        parts = self._parts(train)
        self.forms = [f for f, form in TARGETS.items() if set(form.needs) <= set(parts)]
        self._part_scales = {name: Scale.fit(x, "quantile") for name, x in parts.items()}
        self._part_means = {
            name: max(float(np.abs(x).mean()), _MIN_MEAN) for name, x in parts.items()
        }
        raw = self._combined(parts)
        self._scales = {f: Scale.fit(x, settings.scale) for f, x in raw.items()}  # ty: ignore[invalid-argument-type]

    def __call__(self, evidence: Evidence) -> dict[str, NDArray[np.float64]]:
        """Return target -> (n,) values, 0 to 1."""
        raw = self._combined(self._parts(evidence))
        return {form: self._scales[form](x, evidence.scene) for form, x in raw.items()}

    def gain(self, evidence: Evidence) -> NDArray[np.float64]:
        """Return the (n,) unscaled gain of HR, by which all targets are compared.

        The semantic gain if there are concepts, otherwise the error of the LR fill.
        """
        parts = self._parts(evidence)
        return np.maximum(0, parts.get("semantic", parts["surprise"]))

    def _combined(self, parts: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        plain = self._settings.factors == "none"
        scaled = {
            # Negative values (HR increases the loss) are clipped: a utility is at least 0.
            "quantile": {name: np.maximum(x, 0) for name, x in parts.items()}
            if plain
            else {name: self._part_scales[name](x) for name, x in parts.items()},
            "mean": {name: x / self._part_means[name] for name, x in parts.items()},
        }
        return {
            form: combine(form, **{n: scaled[TARGETS[form].scale][n] for n in TARGETS[form].needs})
            for form in self.forms
        }

    def _parts(self, e: Evidence) -> dict[str, NDArray[np.float64]]:
        parts = {
            "structural": np.asarray(e.saliency, np.float64),
            "surprise": surprise(e.hr, e.fill),
        }
        if self._head is not None and self._similarity is not None:
            hr, reference = self._scores(e)
            parts["semantic"] = semantic_gain(
                hr, reference, self._weights, lam=self._settings.lam, fitted=self._similarity,
                similarity=self._settings.similarity, over=self._settings.over,  # ty: ignore[invalid-argument-type]
            )  # fmt: skip
        if self._head is not None and e.present is not None:
            fill = self._losses(e.fill.mean(axis=1), e.present)
            parts["task_delta"] = task_delta(fill, self._losses(e.hr.mean(axis=1), e.present))
        return parts

    def _scores(self, e: Evidence) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        assert self._head is not None  # noqa: S101  (checked by the callers)
        kind = self._settings.similarity
        if e.vectors is not None:
            scores = similarity_scores(self._head, kind, own=True)
            high, low = e.vectors
            return scores(high), scores(low)
        scores = similarity_scores(self._head, kind)
        return scores(e.hr.mean(axis=1)), scores(e.reference)

    def _losses(self, z: NDArray[np.floating], present: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the cross-entropy of each tile, weighted over concepts."""
        assert self._head is not None  # noqa: S101  (checked by the callers)
        p = np.clip(np.asarray(self._head.probabilities(z), np.float64), _EPS, 1 - _EPS)
        return -(np.where(present, np.log(p), np.log1p(-p)) * self._weights).sum(axis=1)


def crossfitted(
    shape: Shape, data: Data, groups: Sequence[str], strength: float, seed: int
) -> torch.Tensor:
    """Return the cross-fitted linear LR fill of scenes.

    Args:
        shape: Network sizes.
        data: The s training scenes.
        groups: (s,) group of each scene.
        strength: Strength of the ridge penalty.
        seed: Seed of the folds.

    Returns:
        (s, R * k, C * k, hr_dim) float32.
    """
    folds = folds_of(groups, _FOLDS, seed)
    filled = torch.empty(data.hr.shape, dtype=torch.float32)
    fill: Fill = random_weights(lambda: Fill(shape, conv=False), seed)
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds != fold)
        if not inside.size:  # a single scene: no other scenes to fit on
            inside = np.flatnonzero(folds == fold)
        part = data.take(inside)
        solve(fill, part.lr, part.target, part.valid, strength)
        rows = torch.from_numpy(np.flatnonzero(folds == fold))
        with torch.no_grad():
            filled[rows] = fill(data.lr[rows].float())
    return filled
