"""Average precisions of test tiles, regions and scenes, by classifiers and by texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.observe.trial import REGION
from foveate.stats import measures as measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.stats.measures import Measure


@dataclass(frozen=True, eq=False)
class Judged:
    """What test tiles show, and where they lie.

    Attributes:
        known: (n, K) bool.
        place: (n, 3) scene, row and column.
        groups: (n,) group of each, as it is resampled.
        novel: (K,) bool.
        depths: K of mAP@K.
        seed: Of ties.
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
            chosen: (n,) bool: observed.
        """
        known, groups, seed = self.known, self.groups, self.seed
        found = {"tiles": measure.precision(logits, known, groups, seed=seed)}
        left = ~chosen
        if left.any():
            found["unseen"] = measure.precision(logits[left], known[left], groups[left], seed=seed)
        blocks = self.place // np.array([1, REGION, REGION])
        _, number = np.unique(blocks, axis=0, return_inverse=True)
        scores, shown, first = measure.pooled(logits, known, number, "max")
        found["regions"] = measure.precision(scores, shown, groups[first], seed=seed)
        for how in ("max", "mean"):
            scores, shown, first = measure.pooled(logits, known, self.place[:, 0], how)
            for k in self.depths:
                found[f"scenes {how} @{k}"] = measure.precision(
                    scores, shown, groups[first], k=k, seed=seed
                )
        return found

    def by_texts(self, logits: NDArray[np.floating]) -> dict[str, Measure]:
        """Return "text tiles PART" and "text scenes PART @K" of base and of novel concepts.

        Args:
            logits: (n, K) of tiles; those of a scene are their mean.
        """
        found = {}
        for name, part in self._parts():
            said, shown = logits[:, part], self.known[:, part]
            found[f"text tiles {name}"] = measure.precision(
                said, shown, self.groups, seed=self.seed
            )
            scores, there, first = measure.pooled(said, shown, self.place[:, 0], "mean")
            for k in self.depths:
                found[f"text scenes {name} @{k}"] = measure.precision(
                    scores, there, self.groups[first], k=k, seed=self.seed
                )
        return found

    def pooled(self, cosines: NDArray[np.floating]) -> dict[str, Measure]:
        """Return "pooled PART @K": scenes by their one pooled feature, as in Eq. 9.

        "recognition" is the mean average precision over all scenes and concepts (Table 3).

        Args:
            cosines: (m, K) of the scenes with the texts, in the order of their numbers.
        """
        number = self.place[:, 0]
        there, first = np.unique(number, return_index=True)
        shown = np.stack([self.known[number == scene].any(axis=0) for scene in there])
        groups, seed = self.groups[first], self.seed
        return {"recognition": measure.precision(cosines, shown, groups, seed=seed)} | {
            f"pooled {name} @{k}": measure.precision(
                cosines[:, part], shown[:, part], groups, k=k, seed=seed
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
