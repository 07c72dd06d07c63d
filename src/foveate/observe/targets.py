"""Targets of the sampler: the value of seeing a tile in high resolution (Eq. 6).

All of it is computed offline from HR and LR of the same ground.

The semantic gain (Eq. 5) is what HR says of concepts beyond what is known without it. Deviations:
the paper calls s "a similarity function" in the space that images and texts share: the cosine,
which is "cosine" here and needs texts. Cosines of prompts, and of resolutions, have scales of their
own, so "z" standardises both per concept, and "lift" compares probabilities with prevalence.
"logit" is what a head is trained with: scale * cosine + bias of texts, with the scale and bias of
the model; the linear function of a classifier of labels. Its zero means something else in each
model, and so does lambda. With one reference for a whole scene and one concept the gain is HR
similarity alone: a reference for each tile makes it a gain.

Targets are scaled to [0, 1]. The paper normalises "across the tiles" of a scene in section 4.2,
"globally" in 4.1 and D.2. By scene, every scene has a tile with the score 1, even if it shows
nothing but water; so `Scale` is fitted on the whole training set by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe._check import choose, finite, known
from foveate.observe.calibration import Calibration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

ScaleKind = Literal["quantile", "ecdf", "scene_minmax", "scene_sum"]
_SCALES = ("quantile", "ecdf", "scene_minmax", "scene_sum")


@dataclass(frozen=True, eq=False)
class Scale:
    """Maps values to [0, 1].

    Attributes:
        kind: Of the training set, "quantile": (v - q01) / (q99 - q01), cut at 0 and 1; "ecdf": the
            share of its values below, ties counted half. Of each scene by itself, "scene_minmax":
            (v - min) / (max - min), "scene_sum": the share of the scene's sum.
        curve: What was fitted; None for the two kinds by scene.
    """

    kind: ScaleKind
    curve: Calibration | None = None

    @classmethod
    def fit(cls, values: ArrayLike, kind: ScaleKind = "quantile") -> Self:
        """Fit to the values of the training set; the kinds by scene have nothing to fit.

        Args:
            values: (n,) n >= 1. If their 1 % and 99 % quantiles are one, what is above is 1.
            kind: See the class.

        Raises:
            ParameterError: No such kind.
            DataError: No values, or some that are not finite.
        """
        choose(kind, _SCALES, "kind")
        v = finite(values, "values", (None,))
        if not v.size:
            raise DataError("no values to fit a scale on", "One tile at least is needed.")
        if kind == "ecdf":
            return cls(kind, Calibration.fit(v))
        if kind != "quantile":
            return cls(kind)
        low, high = np.quantile(v, [0.01, 0.99]).tolist()
        ends = 2 if high > low else 1
        return cls(kind, Calibration(np.array([low, high])[:ends], np.array([0.0, 1.0])[:ends]))

    def __call__(self, values: ArrayLike, scenes: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return (n,) in [0, 1].

        Args:
            values: (n,) values.
            scenes: (n,) number of the scene of each tile; only the kinds by scene look at it.

        Raises:
            ParameterError: No scenes where they are needed.
            DataError: Shapes do not match, values are not finite, or negative for "scene_sum".
        """
        v = finite(values, "values", (None,))
        if self.curve is not None:
            return self.curve(v)
        if scenes is None:
            raise ParameterError(
                f"a scale {self.kind!r} without scenes",
                "It needs the number of each tile's scene.",
                "Give scenes=place[:, 0].",
            )
        number = finite(scenes, "numbers of scenes", v.shape)
        if self.kind == "scene_sum" and (v < 0).any():
            raise DataError(f"a value of {v.min():g}", "Shares of a sum need values >= 0.")
        result = np.zeros_like(v)
        for scene in np.unique(number):
            at = number == scene
            low = v[at].min() if self.kind == "scene_minmax" else 0.0
            whole = v[at].max() - low if self.kind == "scene_minmax" else v[at].sum()
            # A scene that is the same everywhere has nothing above its least.
            result[at] = (v[at] - low) / whole if whole > 0 else 0.0
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {"kind": self.kind, "curve": None if self.curve is None else self.curve.to_dict()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        curve = stored["curve"]
        return cls(stored["kind"], None if curve is None else Calibration.from_dict(curve))


SimilarityKind = Literal["lift", "z", "cosine", "logit"]
_KINDS = ("lift", "z", "cosine", "logit")
_RANGES = {  # what scores of a kind can be, how they are called, and what else to type
    "lift": ((0.0, 1.0), "Lift compares probabilities, 0 to 1.",
             "Calibrate them, or use similarity='z'."),
    "cosine": ((-1.0, 1.0), "Cosines are -1 to 1.",
               "Give cosines, or use similarity='logit' for scores of another scale."),
}  # fmt: skip
_ROUNDING = 1e-4  # of cosines in half precision
_EQUAL = 1e-9  # relative: a spread below it is rounding


@dataclass(frozen=True, eq=False)
class Similarity:
    """How scores of a concept become comparable: s in Eq. 5.

    Attributes:
        kind: "lift": probability over prevalence; "z": standardised, HR and reference each by
            themselves; "cosine": cosines as they are (Eq. 5); "logit": logits as they are.
        centre: (2, K) float64, subtracted from HR and from the reference.
        spread: (2, K) float64 above 0, by which they are divided then.
    """

    kind: SimilarityKind
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def fit(cls, hr: ArrayLike, reference: ArrayLike, kind: SimilarityKind = "lift") -> Self:
        """Fit to the tiles of a calibration set, such as those for training.

        For "lift" the spread of both is the mean HR probability, at least half a tile's: no
        concept that was never seen has an endless lift. For "z", a concept whose scores are all
        equal has the spread 1.

        Args:
            hr: (n, K) scores of HR, n >= 1: probabilities for "lift", cosines for "cosine", logits
                for "logit", any of them for "z".
            reference: (n, K) scores of what is known without HR.
            kind: See the class.

        Raises:
            ParameterError: No such kind.
            DataError: Shapes do not match, numbers are not finite, or not of this kind.
        """
        choose(kind, _KINDS, "similarity")
        x = _scores(hr, reference, kind)
        if x.shape[1] == 0:
            raise DataError("no tiles to fit a similarity on", "One tile at least is needed.")
        centre, spread = np.zeros((2, x.shape[2])), np.ones((2, x.shape[2]))
        if kind == "lift":
            spread[:] = np.maximum(x[0].mean(axis=0), 0.5 / x.shape[1])
        elif kind == "z":
            centre, spread = x.mean(axis=1), x.std(axis=1)
            spread[spread <= _EQUAL * np.abs(x).max(axis=1)] = 1
        return cls(kind, centre, spread)

    def __call__(self, hr: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
        """Return comparable scores of both: (2, n, K).

        Raises:
            DataError: Shapes do not match, numbers are not finite, or not of this kind.
        """
        x = _scores(hr, reference, self.kind)
        if x.shape[2] != self.centre.shape[1]:
            raise DataError(
                f"scores of {x.shape[2]} concepts",
                f"This similarity was fitted on {self.centre.shape[1]}.",
            )
        return (x - self.centre[:, None]) / self.spread[:, None]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {
            "kind": self.kind, "centre": self.centre.tolist(), "spread": self.spread.tolist(),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        centre, spread = (np.array(stored[key], np.float64) for key in ("centre", "spread"))
        return cls(stored["kind"], centre, spread)


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
    """What HR says of the concepts beyond what is known without it (s_gain, Eq. 5).

        gain_k = max(0, s(hr)_k - lam * s(reference)_k)

    Args:
        hr: (n, K) scores of HR: probabilities for "lift", cosines for "cosine", logits for "logit",
            any of them for "z".
        reference: (n, K) scores of what is known without HR: of each tile's own LR, of the filled
            features, or of the whole overview (the same row for all tiles of a scene).
        weights: (K,) weight of each concept, >= 0.
        lam: How much of the reference is taken off, >= 0.
        similarity: Which s; see `Similarity`.
        over: "sum" of the weighted gains, or their "max".
        fitted: The statistics of the training tiles. None: those of these very tiles.

    Returns:
        (n,) >= 0.

    Raises:
        ParameterError: No such option, or `fitted` is of another similarity.
        DataError: Shapes do not match, numbers are not finite, or not of this kind.
    """
    choose(similarity, _KINDS, "similarity")
    choose(over, ("sum", "max"), "over")
    if not (np.isfinite(lam) and lam >= 0):
        raise ParameterError(f"lam={lam}", "The weight of the reference is at least 0.", "lam=1")
    if fitted is not None and fitted.kind != similarity:
        raise ParameterError(
            f"similarity={similarity!r} with statistics of {fitted.kind!r}",
            "They belong together.",
            f"similarity={fitted.kind!r}",
        )
    s = (fitted or Similarity.fit(hr, reference, similarity))(hr, reference)
    w = finite(weights, "weights", (s.shape[2],))
    if (w < 0).any():
        raise DataError(f"a weight of {w.min():g}", "Weights of concepts are 0 or more.")
    gain = np.maximum(0, s[0] - lam * s[1]) * w
    return gain.sum(axis=1) if over == "sum" else gain.max(axis=1, initial=0)


def _scores(hr: ArrayLike, reference: ArrayLike, kind: str) -> NDArray[np.float64]:
    """Return both as (2, n, K)."""
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

_BLOCK = 256  # tiles at a time, so that float64 copies of tokens stay small


def surprise(hr: NDArray[np.floating], fill: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean squared error of what LR makes of a tile: what HR would change.

    Args:
        hr: (n, t, D) float HR tokens.
        fill: (n, t, D) float, the same tokens as the LR fill guesses them.

    Returns:
        (n,) >= 0.

    Raises:
        DataError: Shapes do not match, or numbers are not finite.
    """
    if hr.ndim != 3 or hr.shape != fill.shape or 0 in hr.shape[1:]:
        raise DataError(
            f"HR tokens of shape {hr.shape}, filled ones of shape {fill.shape}",
            "Expected (tiles, tokens, D) of both.",
        )
    result = np.zeros(len(hr))
    for start in range(0, len(hr), _BLOCK):
        end = start + _BLOCK
        error = np.asarray(hr[start:end], np.float64) - np.asarray(fill[start:end], np.float64)
        result[start:end] = (error**2).reshape(len(error), -1).mean(axis=1)
    return known(result, "tokens")


def task_delta(loss_lr: ArrayLike, loss_hr: ArrayLike) -> NDArray[np.float64]:
    """How much a task of the user's gains by HR: its loss with LR less its loss with HR.

    The advantage of EfficientObjectDetection (Uzkent et al. 2020), with a loss for its precision.

    Args:
        loss_lr: (n,) loss with LR.
        loss_hr: (n,) loss with HR.

    Returns:
        (n,), below 0 where HR does harm.

    Raises:
        DataError: Shapes do not match, or numbers are not finite.
    """
    low = finite(loss_lr, "losses", (None,))
    return low - finite(loss_hr, "losses", low.shape)


def _only(**columns: NDArray[np.float64]) -> NDArray[np.float64]:
    (column,) = columns.values()
    return column


@dataclass(frozen=True)
class Target:
    """A form of the supervision target.

    Attributes:
        title: For reports.
        source: Where it is from.
        needs: The columns that it is made of.
        function: From the columns, (n,) each and on one scale, to (n,); the column itself of one.
        scale: What brings the columns to one scale: "quantile" (0 to 1, see
            `foveate.observe.targets`), or "mean" (1 on average, so that of columns that are summed
            each has as much to give, however long its tail).
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
        "Structure plus meaning", "cross-scale paper, ablated in Table 6",
        ("structural", "semantic"), lambda structural, semantic: (structural + semantic) / 2,
    ),
    "product": Target(
        "Structure times meaning", "cross-scale paper, Eq. 6",
        ("structural", "semantic"), lambda structural, semantic: structural * semantic,
    ),
    "task-delta": Target(
        "Gain of the task", "not in the paper; the reward of Uzkent et al. 2020", ("task_delta",)
    ),
    "surprise": Target("Error of the LR fill", "not in the paper", ("surprise",)),
    "blend": Target(
        "Meaning plus error of the fill", "not in the paper",
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
    """Make a supervision target of its columns; see `TARGETS`.

    Args:
        form: Name in `TARGETS`.
        structural: (n,) structural saliency, scaled.
        semantic: (n,) semantic gain, scaled.
        task_delta: (n,) gain of the task, scaled.
        surprise: (n,) error of the LR fill, scaled.

    Returns:
        (n,).

    Raises:
        ParameterError: No such form, or it needs a column that was not given.
        DataError: Lengths disagree, or numbers are not finite.

    >>> combine("product", [0.5, 1.0], [0.5, 0.0]).tolist()
    [0.25, 0.0]
    """
    choose(form, TARGETS, "form")
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
                f"the form {form!r} without {name}",
                f"It needs {' and '.join(TARGETS[form].needs)}.",
            )
        columns[name] = finite(column, f"values of {name}", (length,))
        length = columns[name].size
    return TARGETS[form].function(**columns)


def captured(value: ArrayLike, chosen: ArrayLike) -> float:
    """Return the share of all value that a choice captures.

    Args:
        value: (n,) value of each tile, >= 0.
        chosen: (n,) bool.

    Returns:
        0 to 1; NaN where there is no value to capture.

    Raises:
        DataError: Shapes do not match, or values are negative or not finite.
    """
    v, mask = finite(value, "values", (None,)), np.asarray(chosen)
    if mask.shape != v.shape or mask.dtype != bool:
        raise DataError(
            f"a choice of shape {mask.shape} and dtype {mask.dtype} for {v.size} tiles",
            "Expected True or False for each.",
        )
    if (v < 0).any():
        raise DataError(f"a value of {v.min():g}", "A share needs values of 0 or more.")
    whole = v.sum()
    return float(v[mask].sum() / whole) if whole > 0 else float("nan")
