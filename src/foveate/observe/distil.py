"""What the policy "sar" compares: two models that read LR, one of them distilled from HR.

SAR, scale-aware recognition (Revankar et al. 2025), as far as its paper tells: a model on LR is
learnt from labels (the teacher of the policy's evidence), a student on LR is taught what the HR
model says, and HR is acquired where the two disagree on concepts that need it. Deviations: both are
linear over the tokens of a tile, its neighbours and its scene, as the LR fill is; which concepts
need HR is told by `Concept.min_gsd` or by a function, where the paper asks a language model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from foveate.errors import DataError
from foveate.observe import dense
from foveate.observe.networks.fill import context
from foveate.observe.scoring import LabelHead, fit_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from foveate.observe.concepts import Concept
    from foveate.observe.material import Material
    from foveate.observe.networks.sizes import Shape

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


def distil(material: Material) -> Distilled:
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
