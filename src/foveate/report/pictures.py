"""Pictures of the run as data URIs, each embedded once and kept small enough for one page."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FEW_SCENES = 6  # up to here overviews are shown as they are stored
SIDE = 480  # pixels; a card of the map is about 360 CSS pixels wide
BUDGET = 12 << 20  # bytes of pictures on one page, so that it opens at once
_QUALITY = 74
_KINDS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png"}


class Album:
    """Collects pictures until their budget is used up.

    Attributes:
        uris: Key -> data URI, in the order of adding.
        left_out: Keys that are not shown: no file, no picture, or over the budget.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.uris: dict[str, str] = {}
        self.left_out: set[str] = set()
        self._room = budget

    def add(self, key: str, file: Path | None, side: int | None = None) -> bool:
        """Embed a picture unless it is there.

        Args:
            key: Name of the picture.
            file: Where it lies, or None.
            side: Longest side in pixels; larger pictures are made smaller.

        Returns:
            Whether the picture is on the page.
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
        self.uris[key] = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        return True


def _smaller(data: bytes, side: int) -> bytes:
    """Shrink a picture; empty when it cannot be read."""
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
