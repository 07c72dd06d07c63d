"""What the tiles of a pool cost, worked out for the units that are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from foveate.budget import geodesic_area

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.pool.pool import Pool


class Costs(Mapping[str, "NDArray[np.float64]"]):
    """Unit -> (n,) float64 cost of each tile, read-only; each is worked out once, when needed.

    "tiles" (1 each); from scenes also "pixels" (valid ones), "bytes" (valid pixels of all bands
    in the native dtype) and, when georeferenced, "area" (square metres of valid ground on the
    ellipsoid).
    """

    def __init__(self, pool: Pool) -> None:
        """Say which units the pool has."""
        self._pool = pool
        self._known: dict[str, NDArray[np.float64]] = {}
        self._units = ["tiles"]
        if pool.tiles is not None:
            self._units += ["pixels", "bytes"]
        if pool.tiles is not None and pool.georeferenced:
            self._units += ["area"]

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
        if unit == "tiles" or pool.tiles is None:
            return np.ones(len(pool))
        share = pool.tiles.valid_share.astype(np.float64)
        if unit == "pixels":
            return np.rint(pool.tiles.pixels * share)
        if unit == "area":
            return geodesic_area(pool.footprints()) * share
        per_pixel = np.zeros(len(pool))
        for scene, rows in pool.per_scene():
            info = scene.source.info
            per_pixel[rows] = info.bands * np.dtype(info.dtype).itemsize
        return self["pixels"] * per_pixel
