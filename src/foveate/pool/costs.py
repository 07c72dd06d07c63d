"""What the tiles of a pool cost, worked out for the units that are asked for."""

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
_BLOCK = 65_536  # outlines that are decoded at a time


class Costs(Mapping[str, "NDArray[np.float64]"]):
    """Unit -> (n,) float64 cost of each tile, read-only; each is worked out once, when needed.

    "tiles" (1 each); from scenes also "pixels" (valid ones) and "bytes" (valid pixels of all bands
    in the native dtype); where each tile has ground on the Earth, "area" (square metres of valid
    ground on the ellipsoid) and "ha" (the same in hectares). Attributes are units where they are
    named: minutes of labelling, a price.

    Args:
        pool: The pool.
        columns: Attributes of numbers that are costs.

    Raises:
        ParameterError: There is no such attribute, or it holds texts.
    """

    def __init__(self, pool: Pool, columns: Iterable[str] = ()) -> None:
        """Say which units the pool has."""
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
        """Say whether the pool has costs in a unit, without working them out."""
        return unit in self._units

    def __getitem__(self, unit: str) -> NDArray[np.float64]:
        """Return what each tile costs in a unit, (n,) float64.

        Raises:
            KeyError: The pool has no costs in that unit.
        """
        if unit not in self._units:
            raise KeyError(unit)
        if unit not in self._known:
            cost = self._work_out(unit)
            cost.flags.writeable = False  # everyone who asks gets this array
            self._known[unit] = cost
        return self._known[unit]

    def _work_out(self, unit: str) -> NDArray[np.float64]:
        pool = self._pool
        if unit == "tiles" or (pool.tiles is None and pool.outlines is None):
            return np.ones(len(pool))
        if unit == "ha":
            return self["area"] / HECTARE
        if pool.outlines is not None:
            parts = range(0, len(pool), _BLOCK)
            found = [geodesic_area(shapes_of(pool.outlines.slice(i, _BLOCK))) for i in parts]
            return np.concatenate([np.empty(0), *found])
        assert pool.tiles is not None  # noqa: S101  (there is no such unit otherwise)
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
        """Return the ground of each tile, scene by scene: a million outlines take a gigabyte."""
        pool, found = self._pool, np.zeros(len(self._pool))
        for scene, rows in pool.per_scene():
            info = scene.source.info
            assert pool.tiles is not None  # noqa: S101  (as above)
            assert info.geobox is not None  # noqa: S101  (the pool is georeferenced)
            outlines = footprints(pool.tiles.take(rows), info.geobox, place=info.place)
            found[rows] = geodesic_area(outlines)
        return found


def costs_for(pool: Pool, units: Iterable[str]) -> Mapping[str, NDArray[np.float64]]:
    """Return what tiles cost in the usual units, and in the attributes that a budget names.

    Args:
        pool: The pool.
        units: Units of the budget. One that the pool does not have is left to `Budget.resolve`.

    Raises:
        ParameterError: An attribute holds texts.
    """
    return pool.costs(*(unit for unit in units if unit in (pool.attributes or ())))
