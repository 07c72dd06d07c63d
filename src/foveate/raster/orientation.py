"""The eight orientations of stored pictures in TIFF and EXIF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.grid import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Turn(NamedTuple):
    """Transform of stored pixels to the upright picture: swap the axes first, then flip.

    Attributes:
        swap: Whether rows and columns are swapped.
        rows: Whether the rows are then reversed.
        cols: Whether the columns are then reversed.
    """

    swap: bool
    rows: bool
    cols: bool

    def shape(self, stored: tuple[int, int]) -> tuple[int, int]:
        """Convert the stored (height, width) to that of the upright picture, or the reverse."""
        return (stored[1], stored[0]) if self.swap else stored

    def window(self, upright: Window, shape: tuple[int, int]) -> Window:
        """Return the stored window of a window of the upright picture of `shape`."""
        y, x, h, w = upright
        y = shape[0] - y - h if self.rows else y
        x = shape[1] - x - w if self.cols else x
        return Window(x, y, w, h) if self.swap else Window(y, x, h, w)

    def apply(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Rotate (..., h, w) stored pixels upright."""
        upright = stored.swapaxes(-1, -2) if self.swap else stored
        return upright[..., :: -1 if self.rows else 1, :: -1 if self.cols else 1]


# TIFF 6.0, tag 274: sides of the upright picture at the first stored row and column.
TURNS = {
    1: Turn(swap=False, rows=False, cols=False),
    2: Turn(swap=False, rows=False, cols=True),
    3: Turn(swap=False, rows=True, cols=True),
    4: Turn(swap=False, rows=True, cols=False),
    5: Turn(swap=True, rows=False, cols=False),
    6: Turn(swap=True, rows=False, cols=True),
    7: Turn(swap=True, rows=True, cols=True),
    8: Turn(swap=True, rows=True, cols=False),
}
