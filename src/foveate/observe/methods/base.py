"""The policies of `observe`, by name, and what they can need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe._check import finite
from foveate.select.method import Method, Methods

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Need:
    """An array over the n tiles that a policy can ask for.

    Attributes:
        what: What it holds, in the plural.
        how: How to get it.
        width: None for (n,); for (n, width), or 0 for (n, K) with any K.
        low: Smallest value that is allowed, or None.
        high: Largest value that is allowed, or None.
        whole: Whether they are whole numbers.
    """

    what: str
    how: str
    width: int | None = None
    low: float | None = None
    high: float | None = None
    whole: bool = False

    def check(self, name: str, values: Any, ids: NDArray[np.str_]) -> NDArray[Any]:
        """Return the array as float64, or int64 for whole numbers, in C order.

        Raises:
            DataError: It does not fit the tiles, or holds a value that cannot be; the tile is
                named.
        """
        n = len(ids)
        shape = (n,) if self.width is None else (n, self.width or None)
        array = np.asarray(values)
        bad = np.zeros(array.shape, dtype=bool)
        if array.dtype.kind == "f":
            bad = ~np.isfinite(array)
        if array.dtype.kind in "fiu":
            if self.low is not None:
                bad |= array < self.low
            if self.high is not None:
                bad |= array > self.high
            if self.whole:
                bad |= array != np.floor(array)
        if bad.any() and array.shape[:1] == (n,):
            row = int(bad.reshape(n, -1).any(axis=1).argmax())
            raise DataError(
                f"{name} of {str(ids[row])!r} is {array[row].tolist()}",
                f"These are {self.what}: {self._allowed()}.",
                "Leave out tiles that are not known.",
            )
        found = finite(array, name, shape)
        return found.astype(np.int64) if self.whole else found

    def _allowed(self) -> str:
        kind = "whole numbers" if self.whole else "finite numbers"
        if self.low is None:
            return kind
        upper = "or more" if self.high is None else f"to {self.high:g}"
        return f"{kind}, {self.low:g} {upper}"


_PREDICTED = "Train a sampler of this form, and give what it predicts from LR, (n,)."

NEEDS: Mapping[str, Need] = {
    "place": Need(
        "number of the scene, row and column", "Give pairs.place, (n, 3).", 3, 0, whole=True
    ),
    "probabilities": Need(
        "probabilities of the concepts from LR", "Classify the LR fill of each tile, (n, K).",
        0, 0, 1,
    ),
    "student": Need(
        "probabilities from LR by a student of the HR model",
        "Distil the HR model into one that reads LR, (n, K).", 0, 0, 1,
    ),
    "teacher": Need(
        "probabilities by the LR model", "Train a model on LR and labels, (n, K).", 0, 0, 1
    ),
    "covariate": Need(
        "amounts", "Average a raster (night lights, population) over each tile, (n,).", None, 0
    ),
    "structural": Need("predictions", _PREDICTED),
    "semantic": Need("predictions", _PREDICTED),
    "additive": Need("predictions", _PREDICTED),
    "product": Need("predictions", _PREDICTED),
    "task_delta": Need("predictions", _PREDICTED),
    "surprise": Need("predictions", _PREDICTED),
    "blend": Need("predictions", _PREDICTED),
    "design": Need(
        "gains of a design",
        "Order the tiles by Observer.design under what a sampler predicts, (n,).",
    ),
    "greedy": Need(
        "gains of a design", "Order the tiles by Observer.design under the true gain, (n,): only a "
        "benchmark has it.",
    ),
    "learned": Need("predictions", "Train a sampler, and give what it predicts from LR, (n,)."),
    "patchdrop": Need(
        "probabilities of acquisition", "Train a PatchDrop policy, and apply it to LR, (n,).",
        None, 0, 1,
    ),
    "gain": Need(
        "true values", "Compute the supervision target from HR, (n,): only a benchmark has it."
    ),
}  # fmt: skip
"""Name -> array; a column with a hyphen in the name of its policy has an underscore."""

_AT = "foveate.observe.methods"
POLICIES: Methods[Policy] = Methods(
    "policy",
    NEEDS,
    {
        "random": f"{_AT}.random:POLICY",
        "uniform": f"{_AT}.uniform:POLICY",
        "covariate": f"{_AT}.covariate:POLICY",
        "lr-entropy": f"{_AT}.entropy:POLICY",
        "sar": f"{_AT}.sar:POLICY",
        "structural": f"{_AT}.column:STRUCTURAL",
        "semantic": f"{_AT}.column:SEMANTIC",
        "additive": f"{_AT}.column:ADDITIVE",
        "product": f"{_AT}.column:PRODUCT",
        "task-delta": f"{_AT}.column:TASK_DELTA",
        "surprise": f"{_AT}.column:SURPRISE",
        "blend": f"{_AT}.column:BLEND",
        "learned": f"{_AT}.column:LEARNED",
        "design": f"{_AT}.column:DESIGN",
        "patchdrop": f"{_AT}.column:PATCHDROP",
        "oracle-gain": f"{_AT}.column:ORACLE_GAIN",
        "oracle-greedy": f"{_AT}.column:ORACLE_GREEDY",
    },
)


class Policy(Method):
    """A `Method` of `observe`: it ranks tiles by what it is worth to see them in HR.

    It can need the arrays of `NEEDS`, and is not made of other policies.

    Raises:
        ParameterError: It has parts, an unknown need, or a function that does not take its needs.
    """

    registry = POLICIES

    def __post_init__(self) -> None:
        """Check that there are no parts, and what every method must keep."""
        if self.parts:
            raise ParameterError(
                f"the policy {self.name!r} with the parts {', '.join(self.parts)}",
                "A policy is made of arrays.",
                f"Give it needs, of {', '.join(NEEDS)}.",
            )
        super().__post_init__()


def get_policy(policy: str | Policy) -> Policy:
    """Return a policy by name; a `Policy` comes back as it is.

    Raises:
        UnknownNameError: No such policy, with a suggestion.
        ParameterError: A method of another verb.
    """
    return POLICIES.find(policy)
