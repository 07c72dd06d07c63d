"""What a tile really shows, where the images say so: by their folders or by masks."""

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
    """Return the class that the folder of each tile's image names.

    Args:
        pool: A pool cut from scenes.
        names: C classes; case, spaces and underscores do not count.

    Returns:
        (n,) class numbers.

    Raises:
        DataError: A folder is none of the classes.
    """
    truth = np.full(len(pool), -1)
    for scene, rows in pool.per_scene():
        folder = _folder(scene)
        number = int(numbers_of([folder], names)[0])
        if number < 0:
            raise DataError(
                f"the image {scene.scene_id!r} lies in the folder {folder!r}, which is none of the "
                f"labels",
                f"Labels: {', '.join(names[:8])}{' ...' if len(names) > 8 else '.'}",
                suggest(folder, names) or "Every image lies in a folder named after its class.",
            )
        truth[rows] = number
    return truth


def mask_truth(pool: Pool, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the most frequent class of each tile's mask; of equal ones, the first.

    Args:
        pool: A pool with masks.
        names: C classes; case, spaces and underscores do not count.

    Returns:
        (n,) class numbers; -1 where nothing is counted, or the class is none of `names`.

    Raises:
        DataError: No class of the masks is among the names.
    """
    assert pool.counts is not None and pool.legend is not None  # noqa: S101, PT018  (has masks)
    legend = pool.legend.names
    place = numbers_of(legend, names)
    if (place < 0).all():
        raise DataError(
            f"no class of the masks is a label: {', '.join(legend[:8])}",
            f"Labels: {', '.join(names[:8])}{' ...' if len(names) > 8 else '.'}",
            "Name the classes like the labels in a classes file (--classes), or leave the masks "
            "out.",
        )
    truth = np.where(pool.counts.any(axis=1), place[pool.counts.argmax(axis=1)], -1)
    left = int((truth < 0).sum())
    if left:
        logger.warning(
            "%d of %d tiles are not judged: their class is no label, or nothing is labelled.",
            left, len(pool),
        )  # fmt: skip
    return truth


def _folder(scene: Scene) -> str:
    """The last folder of an image below what was given, else the folder that was given."""
    above = scene.scene_id.split("/")[:-1]
    return above[-1] if above else PurePath(absolute(scene.uri)).parent.name
