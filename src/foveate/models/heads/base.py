"""What turns embeddings into classes: from texts (`zero_shot`) or from examples (`probe`).

A head is given embeddings as the model returns them, and brings them to what it was fitted on by
itself; whoever averages embeddings before that does so in the space that `Head.inputs` names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable
from unicodedata import normalize

import numpy as np

from foveate.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Inputs = Literal["raw", "unit"]
INPUTS: tuple[Inputs, ...] = get_args(Inputs)


@runtime_checkable
class Head(Protocol):
    """Scores of C classes for embeddings of d dimensions."""

    @property
    def names(self) -> tuple[str, ...]:
        """The C classes."""
        ...

    @property
    def inputs(self) -> Inputs:
        """What the head was fitted on.

        "raw": embeddings as the model returns them, whose length counts. "unit": embeddings of
        norm 1; the head brings others to it.
        """
        ...

    def logits(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the scores of embeddings.

        Args:
            z: (..., d).

        Returns:
            (..., C) float32.
        """
        ...

    def probabilities(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the probabilities of embeddings.

        Args:
            z: (..., d).

        Returns:
            (..., C) float32 in [0, 1].
        """
        ...


def same_name(text: str) -> str:
    """Return what two spellings of a class have in common: case, spaces and "_" do not count."""
    return "".join(normalize("NFC", text).casefold().replace("_", " ").split())


def unit(x: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return vectors of norm 1; a vector of zeros stays one.

    Args:
        x: (..., d).
    """
    wide = np.asarray(x, dtype=np.float32)  # float16 would overflow in the squares
    norm = np.linalg.norm(wide, axis=-1, keepdims=True)
    return wide / np.maximum(norm, np.finfo(np.float32).tiny)


def check_dim(z: NDArray[np.floating], dim: int, what: str) -> None:
    """Check that vectors have the length that a head was made for.

    Raises:
        DataError: They have another.
    """
    if z.ndim < 1 or z.shape[-1] != dim:
        raise DataError(
            f"embeddings of shape {z.shape} for {what} of {dim} dimensions",
            f"Expected (..., {dim}).",
            "Embed with the model that it was made with.",
        )


def confusion(
    truth: NDArray[np.integer], found: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Count how often each class was taken for each.

    Args:
        truth: (n,) class numbers, -1 where the truth is not known: such rows do not count.
        found: (n,) class numbers.
        classes: C.

    Returns:
        (C, C) int64, the truth in rows.
    """
    known = truth >= 0
    cell = truth[known].astype(np.int64) * classes + found[known]
    return np.bincount(cell, minlength=classes * classes).reshape(classes, classes)


def numbers_of(found: Sequence[str], names: Sequence[str]) -> NDArray[np.int64]:
    """Return the class numbers of names, -1 for a name that is no class; see `same_name`."""
    place = {same_name(name): i for i, name in enumerate(names)}
    return np.array([place.get(same_name(name), -1) for name in found], dtype=np.int64)
