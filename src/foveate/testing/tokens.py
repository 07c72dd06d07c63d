"""Rules of `GivesTokens`: vectors on a grid of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.testing.rules import need
from foveate.testing.trial import HALF, read_only
from foveate.testing.vectors import refuse_other_bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.testing.trial import Trial

_LEAST_SIDE = 3  # of a grid with separable quarters
_CORNERS = ("upper left", "upper right", "lower left", "lower right")


def check_tokens(trial: Trial, batch: NDArray[Any]) -> None:
    """Check the tokens of images.

    They are finite float32 of the length of the spec on a grid with the shape of the image, the
    same alone or in a batch; the spec is correct about their mean and space; and pixels of a
    quarter of the image change the tokens of that quarter most (tested on grids of at least 3 x 3).

    Args:
        trial: The model.
        batch: (b, c, h, w) of its bands.

    Raises:
        CheckFailed: A rule is violated.
    """

    def tokens(images: NDArray[Any]) -> NDArray[Any]:
        return trial.model.tokens(read_only(images))

    found = tokens(batch)
    _check_shape(trial, found, batch)
    _check_spec(trial, found, batch)
    alone = np.concatenate([tokens(image[None]) for image in batch])
    trial.near(alone, found, "tokens depend on the other images of the batch")
    _check_places(trial, found, batch)
    wide = batch[:, :, : batch.shape[2] // 2]
    _check_shape(trial, tokens(wide), wide)
    refuse_other_bands(trial, tokens, batch)


def _check_shape(trial: Trial, found: NDArray[Any], batch: NDArray[Any]) -> None:
    spec = trial.model.token_spec
    need(np.ndim(found) == 4, f"{trial.name}: tokens must be (b, gh, gw, d)", "", f"{found.shape}")
    gh, gw = found.shape[1:3]
    trial.need_array(found, (len(batch), gh, gw, spec.dim), "float32", "tokens")
    height, width = trial.model.spec.input_size or batch.shape[2:]
    # Tolerance of one token: incomplete patches may be cropped or padded.
    need(
        min(gh, gw) >= 1 and abs(gh * width - gw * height) <= max(height, width),
        f"{trial.name}: a grid of {gh} x {gw} tokens does not have the shape of an image of "
        f"{height} x {width}",
    )


def _check_spec(trial: Trial, found: NDArray[Any], batch: NDArray[Any]) -> None:
    model, spec = trial.model, trial.model.token_spec
    need(
        spec.space in {"embedding", "backbone"},
        f"{trial.name}: token_spec.space is {spec.space!r}",
    )
    need(
        spec.space == "backbone" or spec.dim == model.spec.dim,
        f"{trial.name}: tokens of length {spec.dim} are not in the space of vectors of length "
        f"{model.spec.dim}",
    )
    if spec.pooled:
        rule = "token_spec.pooled is set, but the mean of the tokens is not the vector"
        trial.near(found.mean(axis=(1, 2)), model.embed(batch), rule, least=HALF)


def _check_places(trial: Trial, found: NDArray[Any], batch: NDArray[Any]) -> None:
    """Change one quarter of the images at a time, and compare the changes of the tokens.

    Networks mix positions, with random weights so much that every token changes. The criterion
    is the interaction: the change minus the mean effects of the quarter of pixels and of the
    quarter of tokens.
    """
    height, width = batch.shape[2:]
    gh, gw = found.shape[1:3]
    if min(gh, gw) < _LEAST_SIDE:
        return
    noise = np.random.default_rng(7).uniform(batch.min(), batch.max(), batch.shape)
    gaps = np.empty((4, 4))  # of the pixels of a quarter, and of the tokens of a quarter
    for number in range(4):
        rows, columns = _quarter(number, height, width)
        other = batch.copy()
        other[:, :, rows, columns] = noise[:, :, rows, columns].astype(batch.dtype)
        gap = np.linalg.norm(trial.model.tokens(other) - found, axis=-1).mean(axis=0)
        gaps[number] = [gap[_quarter(place, gh, gw)].mean() for place in range(4)]
    effect = np.log(gaps + 1e-9 * gaps.max() + np.finfo(float).tiny)
    effect -= effect.mean(axis=0)
    effect -= effect.mean(axis=1, keepdims=True)
    for number, most in enumerate(effect.argmax(axis=1)):
        need(
            most == number,
            f"{trial.name}: tokens must be row-major and north-up",
            f"pixels of the {_CORNERS[number]} quarter were changed",
            f"the tokens of the {_CORNERS[most]} quarter change most",
        )


def _quarter(number: int, height: int, width: int) -> tuple[slice, slice]:
    """Return rows and columns of a corner; the middle of an odd length is in none."""
    down, right = divmod(number, 2)
    return _half(height, down), _half(width, right)


def _half(length: int, second: int) -> slice:
    return slice(length - length // 2, length) if second else slice(0, length // 2)
