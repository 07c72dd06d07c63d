"""Costs of the tiles of a pool, computed for the requested units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from foveate.budget import geodesic_area
from foveate.pool.attributes import Attributes
from foveate.pool.footprints import footprints
from foveate.pool.outlines import have_areas, shapes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from foveate.pool.pool import Pool

HECTARE = 10_000.0  # square metres
_BLOCK = 65_536  # outlines decoded at a time


class Costs(Mapping[str, "NDArray[np.float64]"]):
    """Unit -> (n,) float64 cost of each tile, read-only; computed on first access.

    "tiles" (1 per tile); with scenes also "pixels" (valid pixels) and "bytes" (valid pixels of all
    bands in the native dtype); if each tile has an outline on the Earth, "area" (square metres of
    valid ground on the ellipsoid) and "ha" (the same in hectares). Attributes can be units, for
    example minutes of labelling or a price.

    Args:
        pool: The pool.
        columns: Numeric attributes that are costs.

    Raises:
        ParameterError: An attribute does not exist, or contains strings.
    """

    def __init__(self, pool: Pool, columns: Iterable[str] = ()) -> None:
        """Determine the units of the pool."""
        self._pool = pool
        self._known: dict[str, NDArray[np.float64]] = {}
        self._units = ["tiles"]
        if pool.tiles is not None:
            self._units += ["pixels", "bytes"]
        if (pool.tiles is not None and pool.georeferenced) or (
            pool.outlines is not None and have_areas(pool.outlines)
        ):
            self._units += ["area", "ha"]
        self._columns = [name for name in columns if name not in self._units]
        for name in self._columns:
            self._known[name] = (pool.attributes or Attributes.of({})).number(name).copy()
            self._known[name].flags.writeable = False
        self._units += self._columns

    def __iter__(self) -> Iterator[str]:
        """Yield the units."""
        return iter(self._units)

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self._units)

    def __contains__(self, unit: object) -> bool:
        """Return whether the pool has costs in a unit, without computing them."""
        return unit in self._units

    def __getitem__(self, unit: str) -> NDArray[np.float64]:
        """Return the cost of each tile in a unit, (n,) float64.

        Raises:
            KeyError: The pool has no costs in this unit.
        """
        if unit not in self._units:
            raise KeyError(unit)
        if unit not in self._known:
            cost = self._compute(unit)
            cost.flags.writeable = False  # all callers share this array
            self._known[unit] = cost
        return self._known[unit]

    def _compute(self, unit: str) -> NDArray[np.float64]:
        pool = self._pool
        if unit == "tiles" or (pool.tiles is None and pool.outlines is None):
            return np.ones(len(pool))
        if unit == "ha":
            return self["area"] / HECTARE
        if pool.outlines is not None:
            parts = range(0, len(pool), _BLOCK)
            areas = [geodesic_area(shapes_of(pool.outlines.slice(i, _BLOCK))) for i in parts]
            return np.concatenate([np.empty(0), *areas])
        assert pool.tiles is not None  # noqa: S101  (the unit requires tiles)
        share = pool.tiles.valid_share.astype(np.float64)
        if unit == "pixels":
            return np.rint(pool.tiles.pixels * share)
        if unit == "area":
            return self._areas() * share
        per_pixel = np.zeros(len(pool))
        for scene, rows in pool.per_scene():
            info = scene.source.info
            per_pixel[rows] = info.bands * np.dtype(info.dtype).itemsize
        return self["pixels"] * per_pixel

    def _areas(self) -> NDArray[np.float64]:
        """Return the area of each tile, scene by scene: a million outlines need a gigabyte."""
        pool, areas = self._pool, np.zeros(len(self._pool))
        for scene, rows in pool.per_scene():
            info = scene.source.info
            assert pool.tiles is not None  # noqa: S101  (as above)
            assert info.geobox is not None  # noqa: S101  (the pool is georeferenced)
            outlines = footprints(pool.tiles.take(rows), info.geobox, place=info.place)
            areas[rows] = geodesic_area(outlines)
        return areas


def costs_for(pool: Pool, units: Iterable[str]) -> Mapping[str, NDArray[np.float64]]:
    """Return the costs of tiles in the built-in units, and in attributes used by a budget.

    Args:
        pool: The pool.
        units: Units of the budget. Unknown units are ignored here and rejected by `Budget.resolve`.

    Raises:
        ParameterError: An attribute contains strings.
    """
    return pool.costs(*(unit for unit in units if unit in (pool.attributes or ())))
