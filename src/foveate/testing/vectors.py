"""Rules of `Embeds`: one vector per image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.testing.rules import need, need_refusal
from foveate.testing.trial import read_only

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from foveate.testing.trial import Trial

    Embed = Callable[[NDArray[Any]], NDArray[Any]]

_MOST_HALF = float(np.finfo(np.float16).max)


def check_vectors(trial: Trial, batch: NDArray[Any]) -> None:
    """Check the vectors of images.

    Args:
        trial: The model.
        batch: (b, c, h, w) of its bands, b >= 4; the first image is constant, the others are not.

    Raises:
        CheckFailed: A rule is violated.
    """

    def embed(images: NDArray[Any]) -> NDArray[Any]:
        return trial.model.embed(read_only(images))

    x = embed(batch)
    _check_values(trial, x, len(batch))
    need((embed(batch) == x).all(), f"{trial.name}: a second call gives other vectors")
    _check_batches(trial, embed, batch, x)
    _check_layout(trial, embed, batch, x)
    refuse_other_bands(trial, embed, batch)
    half = embed(batch[:, :, : batch.shape[2] // 2, :])
    need(
        half.shape == x.shape and np.isfinite(half).all(),
        f"{trial.name}: tiles of another size must give the same kind of vector",
    )


def _check_values(trial: Trial, x: NDArray[Any], n: int) -> None:
    spec = trial.model.spec
    trial.need_array(x, (n, spec.dim), spec.dtype, "embed")
    need(np.abs(x).max() <= _MOST_HALF, f"{trial.name}: the vectors overflow float16")
    need(
        not spec.non_negative or (x >= 0).all(),
        f"{trial.name}: negative components, and spec.non_negative is set",
    )
    need(
        (x[1:] != x[0]).any(axis=1).all(),
        f"{trial.name}: textured tiles get the vector of a constant one",
    )


def _check_batches(trial: Trial, embed: Embed, batch: NDArray[Any], x: NDArray[Any]) -> None:
    rule = "a vector depends on the other images of the batch"
    alone = np.concatenate([embed(batch[i : i + 1]) for i in range(len(batch))])
    trial.near(alone, x, rule, "one by one")
    trial.near(embed(batch[::-1])[::-1], x, rule, "reversed")
    trial.near(embed(np.concatenate([batch[:2], batch]))[2:], x, rule, "a larger batch")


def _check_layout(trial: Trial, embed: Embed, batch: NDArray[Any], x: NDArray[Any]) -> None:
    rule = "the same pixels have other vectors"
    for dtype in ("uint8", "uint16", "int16", "float32"):
        if (batch.astype(dtype) == batch).all():
            trial.near(embed(batch.astype(dtype)), x, rule, dtype)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(batch, 1, -1)), -1, 1)
    trial.near(embed(last), x, rule, "bands last in memory")


def refuse_other_bands(
    trial: Trial, function: Callable[[NDArray[Any]], object], batch: NDArray[Any]
) -> None:
    """Check that images with fewer or more bands are rejected.

    Raises:
        CheckFailed: They are not.
    """
    for wrong in (batch[:, :1], np.concatenate([batch, batch], axis=1)):
        if wrong.shape[1] != batch.shape[1]:
            rule = f"{trial.name}: a batch of {wrong.shape[1]} bands"
            need_refusal(lambda given=wrong: function(given), rule)
