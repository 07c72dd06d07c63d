"""Pictures of a run as data URIs, each embedded once, within a size limit per page."""

from __future__ import annotations

import base64
import colorsys
import io
from typing import TYPE_CHECKING

import numpy as np

from foveate.grid import Window
from foveate.raster import FileSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

BUDGET = 12 << 20  # maximum bytes of pictures on one page, so that it opens quickly
_QUALITY = 74
_KINDS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png"}
_PIXELS = 512  # longest side of a heat map, pixels
_RAMP = np.array([[15, 21, 18], [20, 128, 108], [255, 233, 168]], np.float64)  # as in style.css
_MASKS, _ROWS = 1024, 2048  # longest side of a picture of masks; rows read at once, pixels
_GOLDEN = 0.61803398875  # golden ratio: hue steps that separate neighbouring numbers


class Album:
    """Pictures of a page, limited in total size.

    Attributes:
        uris: Key -> data URI, in the order of adding.
        left_out: Keys that are not on the page: no file, not a picture, or over the limit.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.uris: dict[str, str] = {}
        self.left_out: set[str] = set()
        self._room = budget

    def add(self, key: str, file: Path | None, side: int | None = None) -> bool:
        """Embed a picture once, and return whether it is on the page.

        Args:
            key: Name of the picture.
            file: File of the picture, or None.
            side: Longest side in pixels; larger pictures are reduced.
        """
        if key in self.uris:
            return True
        data = b"" if file is None else file.read_bytes()
        kind = next((k for magic, k in _KINDS.items() if data.startswith(magic)), None)
        if kind is not None and side is not None:
            data, kind = _smaller(data, side), "jpeg"
        if kind is None or not data or len(data) > self._room:
            self.left_out.add(key)
            return False
        self._room -= len(data)
        self.uris[key] = _uri(kind, data)
        return True

    def uri(self, key: str, file: Path | None, side: int | None = None) -> str:
        """Embed a picture and return its URI; "" if it is not on the page."""
        return self.uris[key] if self.add(key, file, side) else ""


def inside(root: Path, name: object) -> Path | None:
    """Return a file of a run by its name; None if missing.

    Runs are untrusted: files outside of the run directory are not put on the page.
    """
    if not isinstance(name, str) or "\0" in name:
        return None
    try:
        file = (root / name).resolve()
        return file if file.is_relative_to(root) and file.is_file() else None
    except OSError:  # not a valid file name
        return None


def picture_shape(file: Path | None, otherwise: Sequence[float]) -> tuple[float, float]:
    """Return ``(height, width)`` of a picture, or `otherwise` if it cannot be read."""
    from PIL import Image, UnidentifiedImageError

    if file is not None:
        try:
            with Image.open(file) as picture:
                return float(picture.height), float(picture.width)
        except (OSError, UnidentifiedImageError):
            pass
    return float(otherwise[0]), float(otherwise[1])


def heat(values: NDArray[np.floating], low: float, high: float) -> str:
    """Return (R, C) values as a picture, one pixel each; NaN is transparent."""
    values = _thinned(np.asarray(values, np.float64))
    share = (values - low) / max(high - low, 1e-12)
    known = np.isfinite(share)
    share = np.clip(np.where(known, share, 0), 0, 1)
    steps = np.linspace(0, 1, len(_RAMP))
    bands = [np.interp(share, steps, _RAMP[:, band]) for band in range(3)]
    return png(np.stack([*bands, 255.0 * known], axis=-1))


def png(colours: NDArray[np.floating]) -> str:
    """Return (h, w, 3 or 4) values of 0 to 255 as a data URI."""
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(np.rint(colours).astype(np.uint8)).save(target, "PNG", optimize=True)
    return _uri("png", target.getvalue())


def masks(file: Path, side: int = _MASKS) -> str:
    """Return the numbered masks of a map as a picture with transparent background.

    Args:
        file: Map of one band, 0 without a mask.
        side: Longest side of the picture, pixels.

    Raises:
        DataError: The file cannot be read.
    """
    from PIL import Image

    numbers = _every_nth(file, side)
    drawn = np.where(numbers > 0, (numbers.astype(np.int64) - 1) % 255 + 1, 0).astype(np.uint8)
    picture = Image.fromarray(drawn)
    picture.putpalette(_palette(), "RGB")
    target = io.BytesIO()
    picture.save(target, "PNG", optimize=True, transparency=0)
    return _uri("png", target.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _smaller(data: bytes, side: int) -> bytes:
    """Reduce a picture; empty if it cannot be read."""
    from PIL import Image, UnidentifiedImageError

    target = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data)) as picture:
            small = picture.convert("RGB")
    except (OSError, UnidentifiedImageError):
        return b""
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.save(target, "JPEG", quality=_QUALITY, optimize=True)
    return target.getvalue()


def _thinned(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reduce a map to at most `_PIXELS` per side by block means."""
    step = max(1, -(-max(grid.shape) // _PIXELS))
    if step == 1:
        return grid
    pads = [(0, -side % step) for side in grid.shape]
    grid = np.pad(grid, pads, constant_values=np.nan)
    blocks = grid.reshape(grid.shape[0] // step, step, grid.shape[1] // step, step)
    known = np.isfinite(blocks)
    count = known.sum(axis=(1, 3))
    total = np.where(known, blocks, 0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _every_nth(file: Path, side: int) -> NDArray[np.uint16]:
    """Read every n-th pixel: mask numbers cannot be averaged."""
    source = FileSource(str(file))
    height, width = source.info.shape
    step = max(1, -(-max(height, width) // side))
    rows = max(1, _ROWS // step) * step
    parts = []
    for y in range(0, height, rows):
        raster = source.read(Window(y, 0, min(rows, height - y), width))
        parts.append(np.where(raster.valid, raster.data[0], 0)[::step, ::step])
    return np.concatenate(parts)


def _palette() -> bytes:
    colours = [(0.0, 0.0, 0.0)]
    for i in range(255):
        hue, light = (i * _GOLDEN) % 1.0, (0.62, 0.74, 0.54)[i % 3]
        colours.append(colorsys.hls_to_rgb(hue, light, 0.75))
    return bytes(round(255 * part) for colour in colours for part in colour)
