"""Rules of `PoolsParts`: a part with all tokens is the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.testing.rules import need
from foveate.testing.trial import HALF, read_only
from foveate.testing.vectors import refuse_other_bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.models.capabilities import TokenSums
    from foveate.testing.trial import Trial


def check_parts(trial: Trial, batch: NDArray[Any]) -> None:
    """Check that a model pools parts of images.

    A part with all tokens has the embedding of the image; a part is the same alone or with others;
    and the sums over one image are the same alone or in a batch.

    Args:
        trial: The model.
        batch: (b, c, h, w) of its bands.

    Raises:
        CheckFailed: A rule is violated.
    """
    model = trial.model

    def whole(images: NDArray[Any]) -> NDArray[Any]:
        return np.stack([
            model.pool_sums(_sums(of, slice(None))[None], of)[0]
            for of in model.token_sums(read_only(images))
        ])  # fmt: skip

    found = whole(batch)
    trial.need_array(found, (len(batch), model.spec.dim), "float32", "parts")
    rule = "with all tokens a part must be the embedding of the image"
    trial.near(found, model.embed(batch), rule, least=HALF)
    alone = np.concatenate([whole(image[None]) for image in batch])
    trial.near(alone, found, "sums over tokens depend on the other images of the batch")
    of = model.token_sums(read_only(batch[:1]))[0]
    need(
        of.terms.shape[:2] == of.values.shape[:2] and of.terms.shape[2] == of.always.size,
        f"{trial.name}: terms, values and the class token must be of one grid and length",
    )
    halves = np.stack([_sums(of, rows) for rows in (slice(0, 1), slice(1, None))])
    together = model.pool_sums(halves, of)
    apart = np.concatenate([model.pool_sums(half[None], of) for half in halves])
    trial.near(apart, together, "a part depends on the other parts")
    refuse_other_bands(trial, whole, batch)


def _sums(of: TokenSums, rows: slice) -> NDArray[np.float64]:
    return of.terms[rows].sum(axis=(0, 1), dtype=np.float64) + of.always
