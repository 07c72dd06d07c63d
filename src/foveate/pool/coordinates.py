"""Coordinate lists of the public code of the core-set paper.

Two formats, separated by blanks, one patch per line::

    folder image row col score                 (5 columns, DFC2022)
    image surface-model mask row col score     (6 columns, Vaihingen and Potsdam)

The paper's code calls the row ``x`` and the column ``y``; the first number is the row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.files import read_text
from foveate.grid import Tiles

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Coordinates:
    """Patches of a coordinate list, in the order of the file.

    Attributes:
        tiles: n windows; the scene is ``folder/image`` (5 columns) or ``image`` (6 columns).
        score: (n,) float64, as published; 1 is the most valuable.
        extra: (n,) names of the surface models; empty strings for 5 columns.
        mask: (n,) names of the masks; the image's name for 5 columns.
    """

    tiles: Tiles
    score: NDArray[np.float64]
    extra: NDArray[np.str_]
    mask: NDArray[np.str_]


def is_coordinates(path: Path) -> bool:
    """Return whether a file is a coordinate list, by its first line."""
    try:
        with path.open(encoding="utf-8") as file:
            fields = next((line for line in file if line.strip()), "").split()
    except (OSError, UnicodeDecodeError):
        return False  # the error is raised when the file is read
    return len(fields) in (5, 6) and all(number.isdecimal() for number in fields[-3:-1])


def read_coordinates(path: str | Path, tile: int = 256) -> Coordinates:
    """Read a coordinate list.

    Args:
        path: Text file with 5 or 6 columns.
        tile: Side of a patch in pixels; the lists do not contain it.

    Raises:
        DataError: The file cannot be read, is empty, or has a malformed line.
    """
    text = read_text(path, "coordinate list")
    lines = [(i, line.split()) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(
            f"the coordinate list {str(path)!r} is empty", "It must have one patch per line."
        )
    scenes, extras, masks, boxes, scores = [], [], [], [], []
    for number, fields in lines:
        try:
            *names, row, col, score = fields
            y, x, value = int(row), int(col), float(score)
            if len(names) not in (2, 3) or y < 0 or x < 0 or not np.isfinite(value):
                raise ValueError(fields)  # noqa: TRY301  (one message for every malformed line)
        except ValueError:
            raise DataError(
                f"line {number} of {str(path)!r} is invalid: {' '.join(fields)[:80]!r}",
                "Expected 'folder image row col score' or 'image dsm mask row col score'.",
            ) from None
        scenes.append("/".join(names) if len(names) == 2 else names[0])
        extras.append(names[1] if len(names) == 3 else "")
        masks.append(names[-1])
        boxes.append((y, x, tile, tile))
        scores.append(value)
    names_, codes = np.unique(np.array(scenes), return_inverse=True)
    cut = replace(Tiles.of("", boxes), scenes=tuple(names_.tolist()), scene_code=codes)
    return Coordinates(cut, np.array(scores), np.array(extras), np.array(masks))
