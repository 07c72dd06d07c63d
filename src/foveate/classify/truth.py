"""True classes of tiles from folder names or masks."""

from __future__ import annotations

import logging
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.location import absolute
from foveate.models.heads import numbers_of
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.pool import Pool, Scene

logger = logging.getLogger("foveate")


def folder_truth(pool: Pool, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the class of each tile from the folder name of its image.

    Args:
        pool: A pool cut from scenes.
        names: C classes; case, spaces and underscores are ignored.

    Returns:
        (n,) class numbers.

    Raises:
        DataError: A folder name is not a class.
    """
    truth = np.full(len(pool), -1)
    for scene, rows in pool.per_scene():
        folder = _folder(scene)
        number = int(numbers_of([folder], names)[0])
        if number < 0:
            raise DataError(
                f"the image {scene.scene_id!r} is in the folder {folder!r}, which is not a label",
                f"Labels: {', '.join(names[:8])}{' ...' if len(names) > 8 else '.'}",
                suggest(folder, names)
                or f"Add {folder!r} to the labels, or leave out its images: every image must be in "
                "a folder with the name of its class.",
            )
        truth[rows] = number
    return truth


def mask_truth(pool: Pool, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the most frequent class of each tile's mask; the first class in case of ties.

    Args:
        pool: A pool with masks.
        names: C classes; case, spaces and underscores are ignored.

    Returns:
        (n,) class numbers; -1 for tiles without labelled pixels, or if the class is not in `names`.

    Raises:
        DataError: No class of the masks is in `names`.
    """
    assert pool.counts is not None and pool.legend is not None  # noqa: S101, PT018  (has masks)
    legend = pool.legend.names
    numbers = numbers_of(legend, names)
    if (numbers < 0).all():
        raise DataError(
            f"no class of the masks is a label: {', '.join(legend[:8])}",
            f"Labels: {', '.join(names[:8])}{' ...' if len(names) > 8 else '.'}",
            "Use the names of the labels in a classes file (--classes), or omit the masks.",
        )
    truth = np.where(pool.counts.any(axis=1), numbers[pool.counts.argmax(axis=1)], -1)
    unknown = int((truth < 0).sum())
    if unknown:
        logger.warning(
            "%d of %d tiles have no true class: their class is not a label, or they have no "
            "labelled pixels.", unknown, len(pool),
        )  # fmt: skip
    return truth


def _folder(scene: Scene) -> str:
    """Return the name of the folder of an image, relative to the given path if possible."""
    folders = scene.scene_id.split("/")[:-1]
    return folders[-1] if folders else PurePath(absolute(scene.uri)).parent.name
