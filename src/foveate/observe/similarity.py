"""What HR says of concepts beyond what is known without it: the semantic gain (Eq. 5).

Deviations: the paper calls s "a similarity function" in the space that images and texts share: the
cosine, which is "cosine" here and needs texts. Cosines of prompts, and of resolutions, have scales
of their own, so "z" standardises both per concept, and "lift" compares probabilities with
prevalence. "logit" is what a head is trained with: scale * cosine + bias of texts, with the scale
and bias of the model; the linear function of a classifier of labels. Its zero means something else
in each model, and so does lambda. With one reference for a whole scene and one concept the gain is
HR similarity alone: a reference for each tile makes it a gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe._check import choose, finite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

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
