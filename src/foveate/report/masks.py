"""The numbered masks of a run as a see-through picture."""

from __future__ import annotations

import base64
import colorsys
import io
from typing import TYPE_CHECKING

import numpy as np

from foveate.grid import Window
from foveate.raster import FileSource

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 1024  # longest side of the picture, pixels
_ROWS = 2048  # pixels that are read at once, so that a large map needs little memory
_GOLDEN = 0.61803398875  # steps around the circle of hues that keep neighbours apart


def picture(file: Path, side: int = SIDE) -> str:
    """Return the masks as a data URI.

    Args:
        file: Map of one band, 0 where there is no mask.
        side: Longest side of the picture, pixels.

    Raises:
        DataError: The file cannot be read.
    """
    from PIL import Image

    numbers = _thinned(file, side)
    shown = np.where(numbers > 0, (numbers.astype(np.int64) - 1) % 255 + 1, 0).astype(np.uint8)
    image = Image.fromarray(shown)
    image.putpalette(_palette(), "RGB")
    target = io.BytesIO()
    image.save(target, "PNG", optimize=True, transparency=0)
    return f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}"


def _thinned(file: Path, side: int) -> NDArray[np.uint16]:
    """Read every so many pixels: a mean of two numbers is the number of something else."""
    source = FileSource(str(file))
    height, width = source.info.shape
    step = max(1, -(-max(height, width) // side))
    rows = max(1, _ROWS // step) * step
    parts = []
    for y in range(0, height, rows):
        window = Window(y, 0, min(rows, height - y), width)
        raster = source.read(window)
        parts.append(np.where(raster.valid, raster.data[0], 0)[::step, ::step])
    return np.concatenate(parts)


def _palette() -> bytes:
    colours = [(0.0, 0.0, 0.0)]
    for i in range(255):
        hue, light = (i * _GOLDEN) % 1.0, (0.62, 0.74, 0.54)[i % 3]
        colours.append(colorsys.hls_to_rgb(hue, light, 0.75))
    return bytes(round(255 * part) for colour in colours for part in colour)
