"""What a sampler learns to predict: the worth of seeing a tile in high resolution (Eq. 6).

All of it is computed offline from HR and LR of the same ground. Structural saliency has no formula
in the paper: here it is how much neighbouring tokens differ. The semantic gain is in
`foveate.observe.similarity`, normalisation in `foveate.observe.scale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe._check import choose, finite, known
from foveate.observe.scale import Scale
from foveate.observe.similarity import Similarity, semantic_gain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "TARGETS",
    "Scale",
    "Similarity",
    "Target",
    "captured",
    "combine",
    "semantic_gain",
    "structural_saliency",
    "surprise",
    "task_delta",
]

_BLOCK = 256  # tiles at a time, so that float64 copies of tokens stay small


def structural_saliency(tokens: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean of 1 - cosine over the pairs of tokens that are neighbours (s_vis).

    Args:
        tokens: (n, gh, gw, D) float, the tokens of n HR tiles, gh * gw >= 2.

    Returns:
        (n,) in [0, 2]; 0 for a tile that is the same everywhere. A token of length 0 has no
        direction: its pairs count as equal.

    Raises:
        DataError: Another shape, one token a tile, or numbers that are not finite.
    """
    if tokens.ndim != 4 or tokens.shape[1] * tokens.shape[2] < 2:
        raise DataError(
            f"tokens of shape {tokens.shape}", "Expected (tiles, down, across, D), two a tile."
        )
    result = np.zeros(len(tokens))
    for start in range(0, len(tokens), _BLOCK):
        t = np.array(tokens[start : start + _BLOCK], np.float64, order="C")
        known(t, "tokens")
        length = np.sqrt((t * t).sum(axis=-1, keepdims=True))
        unit = t / np.where(length > 0, length, 1)
        there = length[..., 0] > 0
        down = (1 - (unit[:, 1:] * unit[:, :-1]).sum(-1)) * (there[:, 1:] & there[:, :-1])
        right = 1 - (unit[:, :, 1:] * unit[:, :, :-1]).sum(-1)
        right *= there[:, :, 1:] & there[:, :, :-1]
        pairs = np.concatenate([down.reshape(len(t), -1), right.reshape(len(t), -1)], axis=1)
        result[start : start + _BLOCK] = pairs.mean(axis=1).clip(0, 2)
    return result


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


@dataclass(frozen=True)
class Target:
    """A form of the supervision target.

    Attributes:
        title: For reports.
        source: Where it is from.
        needs: The columns that it is made of.
        function: From the columns, (n,) each and on one scale, to (n,).
        scale: What brings the columns to one scale: "quantile" (0 to 1, see
            `foveate.observe.scale`), or "mean" (1 on average, so that of columns that are summed
            each has as much to give, however long its tail).
    """

    title: str
    source: str
    needs: tuple[str, ...]
    function: Callable[..., NDArray[np.float64]]
    scale: Literal["quantile", "mean"] = "quantile"


TARGETS: Mapping[str, Target] = {
    "structural": Target(
        "Structural saliency", "cross-scale paper, section 4.2, ablated in Table 6",
        ("structural",), lambda structural: structural,
    ),
    "semantic": Target(
        "Semantic gain", "cross-scale paper, Eq. 5, ablated in Table 6",
        ("semantic",), lambda semantic: semantic,
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
        "Gain of the task", "not in the paper; the reward of Uzkent et al. 2020",
        ("task_delta",), lambda task_delta: task_delta,
    ),
    "surprise": Target(
        "Error of the LR fill", "not in the paper",
        ("surprise",), lambda surprise: surprise,
    ),
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
