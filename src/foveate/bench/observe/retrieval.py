"""Average precisions of test tiles, regions and scenes, by classifiers and by texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.observe.training.trial import REGION
from foveate.stats import measures as measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.stats.measures import Measure


@dataclass(frozen=True, eq=False)
class Judged:
    """Labels and positions of test tiles.

    Attributes:
        known: (n, K) bool labels.
        place: (n, 3) scene, row and column.
        groups: (n,) bootstrap group of each tile.
        novel: (K,) bool mask of novel concepts.
        depths: Values of K of mAP@K.
        seed: Seed of ties.
    """

    known: NDArray[np.bool_]
    place: NDArray[np.int64]
    groups: NDArray[np.str_]
    novel: NDArray[np.bool_]
    depths: Sequence[int]
    seed: int

    def by_classifiers(
        self, logits: NDArray[np.floating], chosen: NDArray[np.bool_]
    ) -> dict[str, Measure]:
        """Return "tiles", "unseen", "regions", and "scenes max @K" and "scenes mean @K".

        Args:
            logits: (n, K).
            chosen: (n,) bool mask of observed tiles.
        """
        known, groups, seed = self.known, self.groups, self.seed
        measures = {"tiles": measure.precision(logits, known, groups, seed=seed)}
        rest = ~chosen
        if rest.any():
            unseen = measure.precision(logits[rest], known[rest], groups[rest], seed=seed)
            measures["unseen"] = unseen
        blocks = self.place // np.array([1, REGION, REGION])
        _, number = np.unique(blocks, axis=0, return_inverse=True)
        scores, labels, first = measure.pooled(logits, known, number, "max")
        measures["regions"] = measure.precision(scores, labels, groups[first], seed=seed)
        for how in ("max", "mean"):
            scores, labels, first = measure.pooled(logits, known, self.place[:, 0], how)
            for k in self.depths:
                measures[f"scenes {how} @{k}"] = measure.precision(
                    scores, labels, groups[first], k=k, seed=seed
                )
        return measures

    def by_texts(self, logits: NDArray[np.floating]) -> dict[str, Measure]:
        """Return "text tiles PART" and "text scenes PART @K" of base and of novel concepts.

        Args:
            logits: (n, K) of tiles; the logits of a scene are their mean.
        """
        measures = {}
        for name, part in self._parts():
            of_part, known = logits[:, part], self.known[:, part]
            measures[f"text tiles {name}"] = measure.precision(
                of_part, known, self.groups, seed=self.seed
            )
            scores, labels, first = measure.pooled(of_part, known, self.place[:, 0], "mean")
            for k in self.depths:
                measures[f"text scenes {name} @{k}"] = measure.precision(
                    scores, labels, self.groups[first], k=k, seed=self.seed
                )
        return measures

    def pooled(self, cosines: NDArray[np.floating]) -> dict[str, Measure]:
        """Return "pooled PART @K": scenes by one pooled feature each, as in Eq. 9.

        "recognition" is the mean average precision over all scenes and concepts (Table 3).

        Args:
            cosines: (m, K) cosines of scenes and texts, in the order of the scene indices.
        """
        number = self.place[:, 0]
        scenes, first = np.unique(number, return_index=True)
        labels = np.stack([self.known[number == scene].any(axis=0) for scene in scenes])
        groups, seed = self.groups[first], self.seed
        return {"recognition": measure.precision(cosines, labels, groups, seed=seed)} | {
            f"pooled {name} @{k}": measure.precision(
                cosines[:, part], labels[:, part], groups, k=k, seed=seed
            )
            for name, part in self._parts()
            for k in self.depths
        }

    def scene_means(self, means: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (m, d) means over the tiles of each scene."""
        number = self.place[:, 0]
        return np.stack([means[number == scene].mean(axis=0) for scene in np.unique(number)])

    def _parts(self) -> list[tuple[str, NDArray[np.bool_]]]:
        parts = (("base", ~self.novel), ("novel", self.novel))
        return [(name, part) for name, part in parts if part.any()]
