"""Values of the supervision target on [0, 1].

The paper normalises "across the tiles" of a scene in section 4.2, "globally" in 4.1 and D.2. By
scene, every scene has a tile with the score 1, even if it shows nothing but water; so `Scale` is
fitted on the whole training set unless told otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe._check import choose, finite
from foveate.observe.calibrate import Calibration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

ScaleKind = Literal["quantile", "ecdf", "scene_minmax", "scene_sum"]
_KINDS = ("quantile", "ecdf", "scene_minmax", "scene_sum")


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
        choose(kind, _KINDS, "kind")
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
