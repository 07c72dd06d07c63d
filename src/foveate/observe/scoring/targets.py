"""Targets of the sampler: the value of observing a tile in high resolution (Eq. 6).

Targets are computed offline from HR and LR of the same area.

The semantic gain (Eq. 5) is the similarity of HR to the concepts beyond a reference that is known
without HR. Deviations: the paper calls s "a similarity function" in the joint space of images and
texts, the cosine, which is "cosine" here and needs texts. Cosines have different scales for
different prompts and resolutions, so "z" standardises both per concept, and "lift" compares
probabilities with prevalence. "logit" is the training output of a head: scale * cosine + bias for
texts, with the scale and bias of the model; the linear function of a classifier for labels. The
zero of logits, and so the meaning of lambda, depends on the model. With one reference for a whole
scene and one concept, tiles are ordered by HR similarity alone; a reference per tile gives a true
gain.

Targets are scaled to [0, 1]. The paper normalises "across the tiles" of a scene in section 4.2,
"globally" in 4.1 and D.2. If scaled per scene, every scene has a tile with the score 1, even a
scene of open water; so by default `Scale` is fitted on the whole training set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe._check import check_finite, finite
from foveate.observe.scoring.calibration import Calibration
from foveate.registry import check_choice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

ScaleKind = Literal["quantile", "ecdf", "scene_minmax", "scene_sum"]
_SCALES = ("quantile", "ecdf", "scene_minmax", "scene_sum")


@dataclass(frozen=True, eq=False)
class Scale:
    """Scaling of values to [0, 1].

    Attributes:
        kind: Fitted on the training set: "quantile", (v - q01) / (q99 - q01), clipped to [0, 1];
            "ecdf", the share of lower values, plus half of ties. Computed per scene:
            "scene_minmax", (v - min) / (max - min); "scene_sum", the share of the sum of the scene.
        curve: Fitted distribution function; None for the kinds per scene.
    """

    kind: ScaleKind
    curve: Calibration | None = None

    @classmethod
    def fit(cls, values: ArrayLike, kind: ScaleKind = "quantile") -> Self:
        """Fit to the values of the training set; the kinds per scene need no fit.

        Args:
            values: (n,) n >= 1. If their 1 % and 99 % quantiles are equal, larger values map to 1.
            kind: See the class.

        Raises:
            ParameterError: The kind is unknown.
            DataError: There are no values, or values are not finite.
        """
        check_choice("kind", kind, _SCALES)
        v = finite(values, "values", (None,))
        if not v.size:
            raise DataError("no values to fit a scale on", "At least one tile is required.")
        if kind == "ecdf":
            return cls(kind, Calibration.fit(v))
        if kind != "quantile":
            return cls(kind)
        low, high = np.quantile(v, [0.01, 0.99]).tolist()
        ends = 2 if high > low else 1
        return cls(kind, Calibration(np.array([low, high])[:ends], np.array([0.0, 1.0])[:ends]))

    def __call__(self, values: ArrayLike, scenes: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return (n,) scaled values in [0, 1].

        Args:
            values: (n,) values.
            scenes: (n,) number of the scene of each tile; required by the kinds per scene.

        Raises:
            ParameterError: `scenes` is required and missing.
            DataError: Shapes do not match, values are not finite, or negative for "scene_sum".
        """
        v = finite(values, "values", (None,))
        if self.curve is not None:
            return self.curve(v)
        if scenes is None:
            raise ParameterError(
                f"a scale {self.kind!r} without scenes",
                "The scene number of each tile is required.",
                "Pass scenes=place[:, 0].",
            )
        number = finite(scenes, "numbers of scenes", v.shape)
        if self.kind == "scene_sum" and (v < 0).any():
            raise DataError(f"a value of {v.min():g}", "Values of 'scene_sum' must be >= 0.")
        result = np.zeros_like(v)
        for scene in np.unique(number):
            rows = number == scene
            low = v[rows].min() if self.kind == "scene_minmax" else 0.0
            span = v[rows].max() - low if self.kind == "scene_minmax" else v[rows].sum()
            # The span of a constant scene is 0.
            result[rows] = (v[rows] - low) / span if span > 0 else 0.0
        return result


SimilarityKind = Literal["lift", "z", "cosine", "logit"]
_KINDS = ("lift", "z", "cosine", "logit")
_RANGES = {  # kind -> range of scores, requirement and hint of the error
    "lift": ((0.0, 1.0), "Scores of 'lift' must be probabilities, 0 to 1.",
             "Calibrate the scores, or use similarity='z'."),
    "cosine": ((-1.0, 1.0), "Scores of 'cosine' must be from -1 to 1.",
               "Pass cosines, or use similarity='logit' for scores of another scale."),
}  # fmt: skip
_ROUNDING = 1e-4  # of cosines in half precision
_MIN_SPREAD = 1e-9  # relative; a smaller spread is rounding error


@dataclass(frozen=True, eq=False)
class Similarity:
    """Normalisation of concept scores: s in Eq. 5.

    Attributes:
        kind: "lift": probability divided by prevalence; "z": standardised, HR and reference
            separately; "cosine": unchanged cosines (Eq. 5); "logit": unchanged logits.
        centre: (2, K) float64, subtracted from the scores of HR and of the reference.
        spread: (2, K) float64 above 0, divisor of the centred scores.
    """

    kind: SimilarityKind
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def fit(cls, hr: ArrayLike, reference: ArrayLike, kind: SimilarityKind = "lift") -> Self:
        """Fit to the tiles of a calibration set, such as the training tiles.

        For "lift" the spread of both is the mean HR probability, at least half a tile, so that the
        lift of a concept that is never present is finite. For "z", the spread of a concept with
        constant scores is 1.

        Args:
            hr: (n, K) scores of HR, n >= 1: probabilities for "lift", cosines for "cosine", logits
                for "logit", any of them for "z".
            reference: (n, K) scores of the reference, known without HR.
            kind: See the class.

        Raises:
            ParameterError: The kind is unknown.
            DataError: Shapes do not match, scores are not finite, or out of range for the kind.
        """
        check_choice("similarity", kind, _KINDS)
        x = _scores(hr, reference, kind)
        if x.shape[1] == 0:
            raise DataError("no tiles to fit a similarity on", "At least one tile is required.")
        centre, spread = np.zeros((2, x.shape[2])), np.ones((2, x.shape[2]))
        if kind == "lift":
            spread[:] = np.maximum(x[0].mean(axis=0), 0.5 / x.shape[1])
        elif kind == "z":
            centre, spread = x.mean(axis=1), x.std(axis=1)
            spread[spread <= _MIN_SPREAD * np.abs(x).max(axis=1)] = 1
        return cls(kind, centre, spread)

    def __call__(self, hr: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
        """Return the (2, n, K) normalised scores of HR and reference.

        Raises:
            DataError: Shapes do not match, scores are not finite, or out of range for the kind.
        """
        x = _scores(hr, reference, self.kind)
        if x.shape[2] != self.centre.shape[1]:
            raise DataError(
                f"scores of {x.shape[2]} concepts",
                f"This similarity was fitted on {self.centre.shape[1]}.",
            )
        return (x - self.centre[:, None]) / self.spread[:, None]


def semantic_gain(
    hr: ArrayLike,
    reference: ArrayLike,
    weights: ArrayLike,
    *,
    lam: float = 1.0,
    similarity: SimilarityKind = "lift",
    over: Literal["sum", "max"] = "sum",
    fitted: Similarity | None = None,
) -> NDArray[np.float64]:
    """Compute the semantic gain of HR over a reference (s_gain, Eq. 5).

        gain_k = max(0, s(hr)_k - lam * s(reference)_k)

    Args:
        hr: (n, K) scores of HR: probabilities for "lift", cosines for "cosine", logits for "logit",
            any of them for "z".
        reference: (n, K) scores known without HR: of the LR of each tile, of the LR fill, or of the
            whole overview (the same row for all tiles of a scene).
        weights: (K,) weight of each concept, >= 0.
        lam: Weight of the reference, >= 0.
        similarity: Kind of s; see `Similarity`.
        over: Aggregation over concepts: "sum" or "max" of the weighted gains.
        fitted: Similarity fitted on the training tiles. None: fitted on the given tiles.

    Returns:
        (n,) >= 0.

    Raises:
        ParameterError: An option is unknown, or `fitted` has another kind.
        DataError: Shapes do not match, scores are not finite, or out of range for the kind.
    """
    check_choice("similarity", similarity, _KINDS)
    check_choice("over", over, ("sum", "max"))
    if not (np.isfinite(lam) and lam >= 0):
        raise ParameterError(
            f"lam={lam}", "The weight of the reference must be >= 0.", "For example lam=1."
        )
    if fitted is not None and fitted.kind != similarity:
        raise ParameterError(
            f"similarity={similarity!r} with statistics of {fitted.kind!r}",
            "The two must be the same.",
            f"Use similarity={fitted.kind!r}.",
        )
    s = (fitted or Similarity.fit(hr, reference, similarity))(hr, reference)
    w = finite(weights, "weights", (s.shape[2],))
    if (w < 0).any():
        raise DataError(f"a weight of {w.min():g}", "Weights of concepts must be >= 0.")
    gain = np.maximum(0, s[0] - lam * s[1]) * w
    return gain.sum(axis=1) if over == "sum" else gain.max(axis=1, initial=0)


def _scores(hr: ArrayLike, reference: ArrayLike, kind: str) -> NDArray[np.float64]:
    """Return the scores of HR and reference as (2, n, K)."""
    high = finite(hr, "scores of HR", (None, None))
    both = np.stack([high, finite(reference, "scores of the reference", high.shape)])
    if kind in _RANGES and both.size:
        (low, high), allowed, hint = _RANGES[kind]
        slack = _ROUNDING if kind == "cosine" else 0.0
        if both.min() < low - slack or both.max() > high + slack:
            given = f"scores from {both.min():g} to {both.max():g} for the similarity {kind!r}"
            raise DataError(given, allowed, hint)
    return both


__all__ = [
    "TARGETS",
    "Scale",
    "Similarity",
    "Target",
    "captured",
    "combine",
    "semantic_gain",
    "surprise",
    "task_delta",
]

_BLOCK = 256  # tiles per block, limits the memory of float64 copies


def surprise(hr: NDArray[np.floating], fill: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the mean squared error of the LR fill of each tile.

    Args:
        hr: (n, t, D) float HR tokens.
        fill: (n, t, D) float LR fill of the same tokens.

    Returns:
        (n,) >= 0.

    Raises:
        DataError: Shapes do not match, or values are not finite.
    """
    if hr.ndim != 3 or hr.shape != fill.shape or 0 in hr.shape[1:]:
        raise DataError(
            f"HR tokens of shape {hr.shape}, filled tokens of shape {fill.shape}",
            "Both must have the shape (tiles, tokens, D).",
        )
    result = np.zeros(len(hr))
    for start in range(0, len(hr), _BLOCK):
        end = start + _BLOCK
        error = np.asarray(hr[start:end], np.float64) - np.asarray(fill[start:end], np.float64)
        result[start:end] = (error**2).reshape(len(error), -1).mean(axis=1)
    check_finite(result, "tokens")
    return result


def task_delta(loss_lr: ArrayLike, loss_hr: ArrayLike) -> NDArray[np.float64]:
    """Compute the task gain of HR: the loss with LR minus the loss with HR.

    The advantage of EfficientObjectDetection (Uzkent et al. 2020), with a loss instead of its
    precision.

    Args:
        loss_lr: (n,) loss with LR.
        loss_hr: (n,) loss with HR.

    Returns:
        (n,), negative if HR increases the loss.

    Raises:
        DataError: Shapes do not match, or values are not finite.
    """
    low = finite(loss_lr, "losses", (None,))
    return low - finite(loss_hr, "losses", low.shape)


def _only(**columns: NDArray[np.float64]) -> NDArray[np.float64]:
    (column,) = columns.values()
    return column


@dataclass(frozen=True)
class Target:
    """Definition of a supervision target.

    Attributes:
        title: Title in reports.
        source: Source of the definition.
        needs: Names of the columns that it is computed from.
        function: Function of the scaled columns, (n,) each, to (n,); the identity for one column.
        scale: Scaling of the columns: "quantile" (0 to 1, see this module), or "mean"
            (mean 1, so that the terms of a sum have equal weight for any distribution).
    """

    title: str
    source: str
    needs: tuple[str, ...]
    function: Callable[..., NDArray[np.float64]] = _only
    scale: Literal["quantile", "mean"] = "quantile"


TARGETS: Mapping[str, Target] = {
    "structural": Target(
        "Structural saliency", "cross-scale paper, section 4.2, ablated in Table 6", ("structural",)
    ),
    "semantic": Target(
        "Semantic gain", "cross-scale paper, Eq. 5, ablated in Table 6", ("semantic",)
    ),
    "additive": Target(
        "Saliency plus semantic gain", "cross-scale paper, ablated in Table 6",
        ("structural", "semantic"), lambda structural, semantic: (structural + semantic) / 2,
    ),
    "product": Target(
        "Saliency times semantic gain", "cross-scale paper, Eq. 6",
        ("structural", "semantic"), lambda structural, semantic: structural * semantic,
    ),
    "task-delta": Target(
        "Task gain", "not in the paper; the reward of Uzkent et al. 2020", ("task_delta",)
    ),
    "surprise": Target("Error of the LR fill", "not in the paper", ("surprise",)),
    "blend": Target(
        "Semantic gain plus error of the LR fill", "not in the paper",
        ("semantic", "surprise"), lambda semantic, surprise: (semantic + surprise) / 2, "mean",
    ),
}  # fmt: skip


def combine(
    form: str,
    structural: ArrayLike | None = None,
    semantic: ArrayLike | None = None,
    *,
    task_delta: ArrayLike | None = None,
    surprise: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Compute a supervision target from its columns; see `TARGETS`.

    Args:
        form: Name in `TARGETS`.
        structural: (n,) structural saliency, scaled.
        semantic: (n,) semantic gain, scaled.
        task_delta: (n,) task gain, scaled.
        surprise: (n,) error of the LR fill, scaled.

    Returns:
        (n,).

    Raises:
        ParameterError: The target is unknown, or a required column is missing.
        DataError: Lengths disagree, or values are not finite.

    >>> combine("product", [0.5, 1.0], [0.5, 0.0]).tolist()
    [0.25, 0.0]
    """
    check_choice("form", form, TARGETS)
    given = {
        "structural": structural, "semantic": semantic,
        "task_delta": task_delta, "surprise": surprise,
    }  # fmt: skip
    columns: dict[str, NDArray[np.float64]] = {}
    length: int | None = None
    for name in TARGETS[form].needs:
        column = given[name]
        if column is None:
            raise ParameterError(
                f"the target {form!r} without {name}",
                f"It needs {' and '.join(TARGETS[form].needs)}.",
            )
        columns[name] = finite(column, f"values of {name}", (length,))
        length = columns[name].size
    return TARGETS[form].function(**columns)


def captured(value: ArrayLike, chosen: ArrayLike) -> float:
    """Return the share of the total value that a selection captures.

    Args:
        value: (n,) value of each tile, >= 0.
        chosen: (n,) bool mask of selected tiles.

    Returns:
        0 to 1; NaN if the total value is 0.

    Raises:
        DataError: Shapes do not match, or values are negative or not finite.
    """
    v, mask = finite(value, "values", (None,)), np.asarray(chosen)
    if mask.shape != v.shape or mask.dtype != bool:
        raise DataError(
            f"a selection of shape {mask.shape} and dtype {mask.dtype} for {v.size} tiles",
            "Expected one bool per tile.",
        )
    if (v < 0).any():
        raise DataError(f"a value of {v.min():g}", "Values must be >= 0.")
    total = v.sum()
    return float(v[mask].sum() / total) if total > 0 else float("nan")
