"""Rules for what may stand in one selection, in terms of a pool: ground, places, columns.

Each becomes a `Constraint` on rows. Distances are between the middles of tiles, straight through
the Earth: under 100 km that is the distance on the ground to a hundred-thousandth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from foveate.budget import Amount, Budget
from foveate.errors import BudgetError, DataError, ParameterError
from foveate.pool.antimeridian import middles
from foveate.pool.attribute_file import SCENE
from foveate.pool.attributes import Attributes
from foveate.pool.overlap import overlaps
from foveate.select.constraints import Constraint, Near, Pairs, Quota

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.pool.pool import Pool

PLACE = "place"  # group of the tiles that show the same ground
_SAME = 0.5  # share of a tile that another one covers if both show one place
_BLOCK = 65_536
_EQUATOR, _FLATTENING = 6378137.0, 1 / 298.257223563  # WGS84


@dataclass(frozen=True)
class Rules:
    """What may stand in one selection.

    Attributes:
        max_overlap: Share of a tile, 0 to 1, that an earlier pick may cover; 1 for any.
        min_distance: Metres between the middles of picks; None for any.
        groups: Column of which each value gives one tile; "place" for tiles of the same ground;
            None for none.
        quota: Column, or "scene", -> largest share of the picks ("20%") or number (50) of one
            value.

    Raises:
        ParameterError: A distance that is not positive, or a quota that is no share or number.
    """

    max_overlap: float = 1.0
    min_distance: float | None = None
    groups: str | None = None
    quota: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what can be without a pool."""
        if self.min_distance is not None and not 0 < self.min_distance < np.inf:
            raise ParameterError(
                f"min_distance={self.min_distance}", "Metres, more than 0.", "min_distance=1000"
            )
        for name, amount in self.quota.items():
            read_quota(name, amount)

    @property
    def plain(self) -> bool:
        """Whether there is no rule but that of overlap."""
        return self.min_distance is None and self.groups is None and not self.quota

    def constraint(self, pool: Pool) -> Constraint:
        """Return the rules as a constraint on the rows of a pool.

        Raises:
            DataError: A distance or places, of a pool without longitudes and latitudes.
            ParameterError: There is no such column.
        """
        share = self.max_overlap if self.groups != PLACE else min(self.max_overlap, _SAME)
        if self.groups == PLACE:
            _need_ground(pool, "Places are the same ground on other dates.",
                         "Name a column instead: --groups COLUMN.")  # fmt: skip
        found = [overlaps(pool, share)]
        if self.min_distance is not None:
            _need_ground(pool, "Metres are measured on the Earth.",
                         "Use --max-overlap or --no-overlap, which count pixels.")  # fmt: skip
            near = Near(_points(pool), self.min_distance)
            found.append(Constraint(len(pool), (near,)))
        if self.groups not in (None, PLACE):
            code, _ = codes_of(pool, str(self.groups))
            alone = np.flatnonzero(code < 0)
            code[alone] = code.max(initial=-1) + 1 + np.arange(alone.size)
            pairs = Pairs.of([], [], len(pool), group=code)
            found.append(Constraint(len(pool), () if pairs.empty else (pairs,)))
        for name, given in self.quota.items():
            amount, (code, _) = read_quota(name, given), codes_of(pool, name)
            share, most = (amount.value, None) if amount.share else (None, int(amount.value))
            found.append(Constraint(len(pool), quotas=(Quota(name, code, share, most),)))
        return found[0].joined(*found[1:])


def read_quota(name: str, amount: str | float) -> Amount:
    """Return a quota: a share, or a whole number of tiles.

    Raises:
        ParameterError: It is neither.
    """
    try:
        found = Budget.parse({name: str(amount)}).limits[name]
    except BudgetError:
        found = Amount(0.5)
    if not found.share and found.value != int(found.value):
        raise ParameterError(
            f"quota {name}={amount}",
            "A share of the picks, up to 100%, or a whole number of tiles.",
            "For example scene=20%, or scene=50.",
        )
    return found


def check_quotas(constraint: Constraint, picks: int) -> None:
    """Refuse quotas that leave less than what the budget buys.

    Args:
        constraint: Constraint with quotas.
        picks: How many tiles the budget buys at most.

    Raises:
        ParameterError: With the quota that would do.
    """
    given = constraint.given
    for quota in constraint.quotas:
        room = quota.room(picks + given.size, given)
        if room >= picks:
            continue
        values = int(quota.code.max(initial=-1)) + 1
        enough = next(m for m in range(1, quota.code.size + 1)
                      if Quota("", quota.code, most=m).room(0, given) >= picks)  # fmt: skip
        share = min(100, int(np.ceil(1000 * enough / (picks + given.size))) / 10)
        stated = f"{100 * quota.share:g}%" if quota.share is not None else str(quota.most)
        raise ParameterError(
            f"the quota {quota.name}={stated}, which lets {room} of {picks} tiles through",
            f"The pool has {values} values of {quota.name!r} to choose from.",
            f"Use at least {quota.name}="
            + (f"{share:g}%" if quota.share is not None else str(enough))
            + (f", or a budget of {room} tiles." if room else "."),
        )


def codes_of(pool: Pool, name: str) -> tuple[NDArray[np.int64], list[str]]:
    """Return the value that each tile has of a column, or its scene; see `Attributes.codes`."""
    if name == SCENE and pool.tiles is not None:
        return pool.tiles.scene_code.astype(np.int64), list(pool.tiles.scenes)
    known = pool.attributes if pool.attributes is not None else Attributes.of({})
    return known.codes(name)


def _need_ground(pool: Pool, why: str, hint: str) -> None:
    if not pool.georeferenced:
        raise DataError(f"a pool that does not lie on the Earth: {pool.unplaced}", why, hint)


def _points(pool: Pool) -> NDArray[np.float64]:
    """Return the middles of tiles on the ellipsoid, (n, 3) metres from the centre of the Earth."""
    found = np.empty((len(pool), 3))
    for start in range(0, len(pool), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(pool)))
        lon, lat = np.radians(middles(pool.take(rows).footprints()))
        square = _FLATTENING * (2 - _FLATTENING)
        radius = _EQUATOR / np.sqrt(1 - square * np.sin(lat) ** 2)
        found[rows] = np.stack([
            radius * np.cos(lat) * np.cos(lon), radius * np.cos(lat) * np.sin(lon),
            radius * (1 - square) * np.sin(lat),
        ], axis=1)  # fmt: skip
    return found
