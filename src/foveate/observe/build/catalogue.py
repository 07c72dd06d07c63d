"""Search the catalogues of HR and LR by location and date."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.observe.build.matching import DAY, acquisitions
from foveate.pool.stac.assets import bands_of, quality_of
from foveate.pool.stac.items import read_items

if TYPE_CHECKING:
    from foveate.observe.build.footprints import Layout
    from foveate.observe.build.matching import Acquisitions
    from foveate.observe.build.polygons import Polygons
    from foveate.pool.stac.items import Item
    from foveate.pool.stac.search import Search

_DEGREE = 111_320.0  # metres
WITHOUT_ASSETS, WITHOUT_LAYER = "without the assets", "without a scene classification layer"


def ground_of(polygons: Polygons, layout: Layout) -> tuple[float, ...]:
    """Return the bounding box of all footprints in degrees, or () if it would cross 180 degrees."""
    import shapely

    west, south, east, north = shapely.total_bounds(polygons.shapes).tolist()
    dy = layout.metres / _DEGREE
    south, north = max(south - dy, -90.0), min(north + dy, 90.0)
    dx = dy / max(np.cos(np.radians(max(abs(south), abs(north)))), 0.01)
    box = (west - dx, south, east + dx, north)
    return box if box[0] >= -180 and box[2] <= 180 else ()


def items_of(
    path: str, search: Search, what: str, assets: tuple[str, ...], scl: tuple[str, ...]
) -> Acquisitions:
    """Read the items of a catalogue that match a search.

    Args:
        path: Path or URL of the catalogue.
        search: Dates and bounding box.
        what: "HR" or "LR", for messages.
        assets: Assets to read; () for the only image asset.
        scl: Names of scene classification layers, of which each item needs one; ("none",) for none.

    Raises:
        DataError: The catalogue cannot be read, or it has no usable item.
        ParameterError: Items have several image assets, and `assets` is empty.
    """

    def lacking(item: Item) -> str:
        try:
            bands_of(item, assets)
        except DataError:
            return WITHOUT_ASSETS
        no_layer = scl != ("none",) and quality_of(item, scl) is None
        return WITHOUT_LAYER if no_layer else ""

    matches = (item for item in read_items(path, search) if not search.why_not(item.content))
    return acquisitions(matches, what, lacking)


def around_hr(hr: Acquisitions, days: float) -> str:
    """Return the time interval of all HR items, extended by `days` at both ends."""
    from foveate.observe.build.plan import moment_text

    first, last = hr.seconds.min() - days * DAY, hr.seconds.max() + days * DAY
    return f"{moment_text(float(first))}/{moment_text(float(last))}"
