"""Evaluation of an observer on scenes with high resolution.

The main measure is the mean average precision of concepts over completed tiles, then over regions
of a few tiles, then over scenes. Pooled scene vectors hide bad tiles and can rank bad predictors
first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from foveate.observe import dense
from foveate.observe.networks.losses import centred_cosine
from foveate.observe.scoring.policies import apply_policy
from foveate.stats import mean_average_precision
from foveate.stats.measures import group_names, precision, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.observe.observer import Observer
    from foveate.observe.scoring.policies import Policy
    from foveate.observe.training.crossfit import Evidence, Targets
    from foveate.observe.training.dataset import TrainingData
    from foveate.selection import Ranking
    from foveate.stats.measures import Measure

REGION = 2  # tiles along the side of a region


@dataclass(frozen=True)
class Measures:
    """Quality measures of completed scenes.

    Attributes:
        tiles: (K,) average precision of each concept over all tiles; NaN if no tile has it.
        unseen: (K,) average precision over unobserved tiles; NaN if all tiles are observed.
        regions: (K,) average precision over regions of 2 x 2 tiles, scored by their best tile.
        scenes_max: (K,) AP@20 of scenes, scored by their best tile.
        scenes_mean: (K,) AP@20 of scenes, scored by the mean of their tiles.
        cosine: Mean centred cosine of completed and true tokens of unobserved tiles; NaN if all
            tiles are observed.
        norm: Mean ratio of the norms of these tokens.
    """

    tiles: NDArray[np.float64]
    unseen: NDArray[np.float64]
    regions: NDArray[np.float64]
    scenes_max: NDArray[np.float64]
    scenes_mean: NDArray[np.float64]
    cosine: float
    norm: float

    def means(self) -> dict[str, float | None]:
        """Return the means over concepts, without NaN, JSON-ready."""
        means: dict[str, float | None] = {}
        for name, value in vars(self).items():
            values = np.atleast_1d(np.asarray(value, float))
            values = values[np.isfinite(values)]
            means[name] = float(values.mean()) if values.size else None
        return means


class Trial:
    """An observer and the scenes that it is evaluated on; see the module docstring.

    Args:
        material: The pairs with their features.
        observer: The observer to evaluate.
        scenes: (m,) numbers of the scenes.
        targets: Supervision targets, for the oracle; None: no oracle.
        reference: Reference of the gain: "tile", "scene" or "overview".
        seed: Seed of ties and random draws.
    """

    def __init__(
        self, material: TrainingData, observer: Observer, scenes: NDArray[np.integer], *,
        targets: Targets | None = None, reference: str = "tile",
        seed: int = 0,
    ) -> None:  # fmt: skip
        self.material, self.observer, self.scenes, self.seed = material, observer, scenes, seed
        self._targets, self._reference = targets, reference
        at = torch.from_numpy(np.asarray(scenes, np.int64))
        self.lr = material.data.lr[at].float().numpy()
        self.hr = material.data.hr[at].float().numpy()
        self.valid = material.data.valid[scenes]
        self.rows = material.tiles(scenes)
        self.place = material.places(scenes)
        self.known = None if material.known is None else material.known[self.rows]
        self.pool = material.pairs.pool.take(self.rows)

    @cached_property
    def fill(self) -> NDArray[np.float32]:
        """(m, R * k, C * k, d) LR fill."""
        return self.observer.filled(self.lr)

    @cached_property
    def judged(self) -> Evidence:
        """Inputs of the true supervision targets of these scenes."""
        filled = torch.from_numpy(self.fill)
        return self.material.evidence(self.scenes, filled, reference=self._reference)

    @cached_property
    def truth(self) -> dict[str, NDArray[np.float64]]:
        """Target -> (n,) true values; "gain" is the unscaled gain of HR."""
        if self._targets is None:
            return {}
        return {**self._targets(self.judged), "gain": self._targets.gain(self.judged)}

    def observed(self, share: float) -> NDArray[np.bool_]:
        """Return an (m, R, C) bool mask of the best share of tiles by the sampler."""
        raw = self.observer.scores(self.lr).raw
        evidence = {"learned": dense.from_grids(raw, self.place)}
        return self.first(self.rank("learned", evidence), share)

    def evidence(self) -> dict[str, Any]:
        """Return the evidence of policies: computed from LR, except for the gain of the oracle."""
        raw = self.observer.scores(self.lr).raw
        arrays: dict[str, Any] = {"place": self.place, "learned": dense.from_grids(raw, self.place)}
        if self.observer.predictor.kriging is not None:
            arrays["design"] = self._design(np.where(self.valid, raw, 0))
        head = self.material.head
        if head is not None:
            arrays["probabilities"] = head.probabilities(self.tile_means(self.fill))
        if self.truth:
            arrays["gain"] = gain = self.truth["gain"]
            if self.observer.predictor.kriging is not None:
                arrays["greedy"] = self._design(dense.to_grids(gain, self.place, self.valid.shape))
        return arrays

    def _design(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        return dense.from_grids(self.observer.design(self.lr, values), self.place)

    def rank(
        self, policy: str | Policy, evidence: Mapping[str, Any] | None = None, *, seed: int = 0,
        **options: Any,
    ) -> Ranking:  # fmt: skip
        """Rank the tiles of these scenes by a policy; `seed` is added to the seed of the trial."""
        evidence = self.evidence() if evidence is None else evidence
        return apply_policy(self.pool, policy, evidence, seed=self.seed + seed, **options)

    def first(self, ranking: Ranking, share: float) -> NDArray[np.bool_]:
        """Return an (m, R, C) bool mask of the best share of the tiles, rounded down."""
        chosen = np.zeros(len(self.rows), bool)
        chosen[ranking.rows[: int(share * len(self.rows) + 1e-9)]] = True
        return dense.to_grids(chosen, self.place, self.valid.shape)

    def completed(self, seen: NDArray[np.bool_], how: str) -> NDArray[np.float32]:
        """Return completed tokens.

        Args:
            seen: (m, R, C) bool mask of observed tiles.
            how: "none" (0, the mean of all tokens), "nearest" (the nearest observed tile of the
                scene), "fill" (the LR fill), "ours" (the predictor), or "full" (all HR).
        """
        side = self.material.shape.hr_side
        if how == "full":
            return self.hr
        if how == "ours":
            return self.observer.complete(self.lr, self.hr, seen).tokens
        if how == "nearest":
            base = _nearest(dense.to_tiles(self.hr, side), seen)
            base = dense.to_tokens(base, side)
        else:
            base = self.fill if how == "fill" else np.zeros_like(self.hr)
        visible = seen.repeat(side, axis=1).repeat(side, axis=2)[..., None]
        return np.where(visible, self.hr, base)

    def measure(self, tokens: NDArray[np.floating], seen: NDArray[np.bool_]) -> Measures:
        """Measure the quality of completed scenes, (m, R * k, C * k, d)."""
        side = self.material.shape.hr_side
        unseen = dense.from_grids(~seen, self.place)
        completed = dense.from_grids(dense.to_tiles(tokens, side), self.place)[unseen]
        true = dense.from_grids(dense.to_tiles(self.hr, side), self.place)[unseen]
        cosine = norm = float("nan")
        if len(completed):
            mu = self.observer.predictor.mu.cpu()
            cosine = float(
                centred_cosine(torch.from_numpy(completed), torch.from_numpy(true), mu).mean()
            )
            norms = np.maximum(np.linalg.norm(true, axis=-1), 1e-6)
            norm = float((np.linalg.norm(completed, axis=-1) / norms).mean())
        k = len(self.material.concepts)
        labels = self.material.labels
        if labels is None or self.known is None:
            nan = np.full(k, np.nan)
            return Measures(nan, nan, nan, nan, nan, cosine, norm)
        logits = labels.logits(self.tile_means(tokens))
        return Measures(
            self._precision(logits, self.known),
            self._precision(logits[unseen], self.known[unseen]),
            self._precision(*self._blocks(logits, REGION)),
            self._precision(*self._scenes(logits, np.max), k=20),
            self._precision(*self._scenes(logits, np.mean), k=20),
            cosine,
            norm,
        )

    @cached_property
    def groups(self) -> NDArray[np.str_]:
        """(n,) group of each tile, the unit of the bootstrap."""
        names = np.array(group_names(self.material.pairs.groups))
        return names[self.scenes][self.place[:, 0]]

    def quality(
        self, tokens: NDArray[np.floating], seen: NDArray[np.bool_], *, by_group: bool = False
    ) -> Measure:
        """Return the measure of curves.

        The mean average precision over all tiles, NaN without any positive label; without labels
        the mean centred cosine of completed and true tokens, 1 for observed tiles.

        Args:
            tokens: (m, R * k, C * k, d) completed tokens.
            seen: (m, R, C) bool mask of observed tiles.
            by_group: Whether to compute the contribution of each group of scenes.
        """
        groups = self.groups if by_group else np.full(len(self.rows), "all")
        labels = self.material.labels
        if labels is None or self.known is None:
            each = np.where(dense.from_grids(seen, self.place), 1, self.cosines(tokens))
            return ratio(each, np.ones(len(each)), groups)
        logits = labels.logits(self.tile_means(tokens))
        return precision(logits, self.known, groups, seed=self.seed)

    def cosines(self, tokens: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the (n,) mean centred cosine of the completed and true tokens of each tile."""
        side = self.material.shape.hr_side
        completed, true = (
            torch.from_numpy(dense.from_grids(dense.to_tiles(x, side), self.place))
            for x in (tokens, self.hr)
        )
        mu = self.observer.predictor.mu.cpu()
        return centred_cosine(completed, true, mu).mean(dim=-1).double().numpy()

    def tile_means(self, tokens: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return (n, d) mean tokens of the tiles."""
        side = self.material.shape.hr_side
        return dense.from_grids(dense.to_tiles(tokens, side).mean(axis=3), self.place)

    def _precision(
        self, scores: NDArray[np.floating], relevant: NDArray[np.bool_], k: int | None = None
    ) -> NDArray[np.float64]:
        if not len(scores):
            return np.full(len(self.material.concepts), np.nan)
        return mean_average_precision(scores, relevant, k=k, seed=self.seed).per_concept

    def _scenes(
        self, logits: NDArray[np.floating], pool: Any
    ) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
        assert self.known is not None  # noqa: S101  (checked by the callers)
        scenes = [self.place[:, 0] == i for i in range(len(self.scenes))]
        scenes = [rows for rows in scenes if rows.any()]
        scores = np.stack([pool(logits[rows], axis=0) for rows in scenes])
        return scores, np.stack([self.known[rows].any(axis=0) for rows in scenes])

    def _blocks(
        self, logits: NDArray[np.floating], side: int
    ) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
        assert self.known is not None  # noqa: S101  (checked by the callers)
        block = self.place // np.array([1, side, side])
        _, number = np.unique(block, axis=0, return_inverse=True)
        count = int(number.max()) + 1
        scores = np.full((count, logits.shape[1]), -np.inf)
        np.maximum.at(scores, number, logits)
        relevant = np.zeros((count, logits.shape[1]), bool)
        np.logical_or.at(relevant, number, self.known)
        return scores, relevant


def _nearest(hr: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return the tokens of the nearest observed tile; 0 for scenes without observed tiles."""
    from scipy.ndimage import distance_transform_edt

    nearest = np.zeros_like(hr)
    for i, mask in enumerate(seen):
        if mask.any():
            _, (rows, cols) = distance_transform_edt(~mask, return_indices=True)
            nearest[i] = hr[i, rows, cols]
    return nearest
