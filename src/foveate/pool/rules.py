"""Rules of a selection in terms of a pool: overlap, distance, groups, quotas and strata.

Each rule is converted to a `Constraint` on rows. Distances are chords between the centroids of
tiles; below 100 km they differ from distances on the ground by less than 1e-5.
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
from foveate.registry import suggest
from foveate.select.constraints import Constraint, Near, Pairs, Quota
from foveate.select.strata import Strata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.pool.pool import Pool

CLASS = "class"  # most frequent class of the mask of a tile, if no column has this name
_NO_VALUE = "(no value)"
_SHOWN = 8  # values listed in a message
_ROUNDING = 1e-9
PLACE = "place"  # groups of tiles of the same ground
_SAME = 0.5  # minimum share of a tile covered by another tile of the same place
_BLOCK = 65_536
_EQUATOR, _FLATTENING = 6378137.0, 1 / 298.257223563  # WGS84


@dataclass(frozen=True)
class Rules:
    """Rules of a selection.

    Attributes:
        max_overlap: Maximum share of a tile, 0 to 1, that an earlier pick may cover; 1 for no
            limit.
        min_distance: Minimum distance between the centroids of picks in metres; None for no limit.
        groups: Column of which each value may be picked once; "place" for tiles of the same
            ground; None for no groups.
        quota: Column, or "scene", -> maximum share of the picks ("20%") or maximum number (50) of
            tiles with the same value.
        strata: Column, "scene", or "class" (the most frequent class of the mask), over whose values
            the picks are distributed in proportion to the pool: "region"; in equal shares:
            "region=equal"; or in given shares: "region=north:50%,south:20%", where the remaining
            share is distributed over the other values. None for no strata.

    Raises:
        ParameterError: The distance is not positive, a quota is not a share or number, or the
            strata are malformed.
    """

    max_overlap: float = 1.0
    min_distance: float | None = None
    groups: str | None = None
    quota: Mapping[str, str | int] = field(default_factory=dict)
    strata: str | None = None

    def __post_init__(self) -> None:
        """Check the options that do not depend on a pool."""
        if self.min_distance is not None and not 0 < self.min_distance < np.inf:
            raise ParameterError(
                f"min_distance={self.min_distance}",
                "It must be a positive number of metres.",
                "min_distance=1000",
            )
        for name, amount in self.quota.items():
            read_quota(name, amount)
        if self.strata is not None:
            read_strata(self.strata)

    @property
    def plain(self) -> bool:
        """Whether there is no rule except `max_overlap`."""
        others = (self.min_distance, self.groups, self.strata)
        return all(rule is None for rule in others) and not self.quota

    def constraint(self, pool: Pool) -> Constraint:
        """Return the rules as a constraint on the rows of a pool.

        Raises:
            DataError: A distance or places are given for a pool that is not georeferenced.
            ParameterError: A column does not exist.
        """
        share = self.max_overlap if self.groups != PLACE else min(self.max_overlap, _SAME)
        if self.groups == PLACE:
            _need_ground(pool, "Places are tiles of the same ground on different dates.",
                         "Use a column instead: --groups COLUMN.")  # fmt: skip
        constraints = [overlaps(pool, share)]
        if self.min_distance is not None:
            _need_ground(pool, "Distances in metres require georeferenced scenes.",
                         "Use --max-overlap or --no-overlap, which count pixels.")  # fmt: skip
            near = Near(_points(pool), self.min_distance)
            constraints.append(Constraint(len(pool), (near,)))
        if self.groups not in (None, PLACE):
            code, _ = codes_of(pool, str(self.groups))
            alone = np.flatnonzero(code < 0)
            code[alone] = code.max(initial=-1) + 1 + np.arange(alone.size)
            pairs = Pairs.of([], [], len(pool), group=code)
            constraints.append(Constraint(len(pool), () if pairs.empty else (pairs,)))
        for name, text in self.quota.items():
            amount, (code, _) = read_quota(name, text), codes_of(pool, name)
            share, limit = (amount.value, None) if amount.share else (None, int(amount.value))
            constraints.append(Constraint(len(pool), quotas=(Quota(name, code, share, limit),)))
        if self.strata is not None:
            constraints.append(Constraint(len(pool), strata=strata_of(pool, self.strata)))
        return constraints[0].joined(*constraints[1:])


def read_quota(name: str, amount: str | float) -> Amount:
    """Parse a quota: a share, or an integer number of tiles.

    Raises:
        ParameterError: The amount is neither.
    """
    try:
        limit = Budget.parse({name: str(amount)}).limits[name]
    except BudgetError:
        limit = Amount(0.5)
    if not limit.share and limit.value != int(limit.value):
        raise ParameterError(
            f"quota {name}={amount}",
            "A quota must be a share of the picks, up to 100%, or an integer number of tiles.",
            "For example scene=20%, or scene=50.",
        )
    return limit


def check_quotas(constraint: Constraint, picks: int) -> None:
    """Check that quotas allow as many tiles as the budget.

    Args:
        constraint: Constraint with quotas.
        picks: Maximum number of tiles within the budget.

    Raises:
        ParameterError: A quota is too small; the message contains the minimum quota.
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
            f"the quota {quota.name}={stated} allows only {room} of {picks} tiles",
            f"The pool has {values} different values of {quota.name!r}.",
            f"Use at least {quota.name}="
            + (f"{share:g}%" if quota.share is not None else str(enough))
            + (f", or a budget of {room} tiles." if room else "."),
        )


def read_strata(text: str) -> tuple[str, Mapping[str, float] | str]:
    """Parse the column of strata and their shares: "pool", "equal", or value -> share.

    Raises:
        ParameterError: The text is malformed, or the shares exceed 100 %.
    """
    name, stated, shares = (entry.strip() for entry in str(text).partition("="))
    if name and not stated:
        return name, "pool"
    if name and shares == "equal":
        return name, "equal"
    share_of: dict[str, float] = {}
    for entry in shares.split(","):
        value, _, share = (field.strip() for field in entry.rpartition(":"))
        try:
            amount = Budget.parse({"tiles": share}).limits["tiles"]
        except BudgetError:
            amount = Amount(0.0)
        if not (name and value and amount.share) or value in share_of:
            raise ParameterError(
                f"strata {text!r}",
                "Strata are given as COLUMN, COLUMN=equal, or COLUMN=VALUE:SHARE,VALUE:SHARE with "
                "each value once.",
                "For example region, region=equal, or region=north:50%,south:20%.",
            )
        share_of[value] = amount.value
    if sum(share_of.values()) > 1 + _ROUNDING:
        raise ParameterError(
            f"strata {text!r}: the shares add up to {100 * sum(share_of.values()):g} %",
            "They must not exceed 100 %; the remaining share is distributed over the other values.",
        )  # fmt: skip
    return name, share_of


def strata_of(pool: Pool, text: str) -> Strata:
    """Return the strata of the tiles of a pool; tiles without a value form a separate stratum.

    Raises:
        ParameterError: The column or a value does not exist, or the shares are below 100 % and
            there are no other values.
    """
    name, stated = read_strata(text)
    code, values = _strata_codes(pool, name)
    names = (*values, _NO_VALUE)
    code = np.where(code < 0, len(values), code)
    sizes = np.bincount(code, minlength=len(names)).astype(np.float64)
    if stated == "equal":
        present = (sizes > 0) & (np.arange(len(names)) < len(values))
        return Strata(name, names, code, present / max(int(present.sum()), 1))
    share = np.zeros(len(names))
    for value, amount in stated.items() if not isinstance(stated, str) else ():
        if value not in values:
            listed = ", ".join(values[:_SHOWN]) + (" ..." if len(values) > _SHOWN else "")
            raise ParameterError(
                f"strata {text!r}: {name!r} has no value {value!r}", f"Its values: {listed}.",
                suggest(value, values),
            )  # fmt: skip
        share[values.index(value)] = amount
    remaining, others = 1 - share.sum(), np.where(share > 0, 0, sizes)
    if remaining > _ROUNDING:
        if not others.any():
            raise ParameterError(
                f"strata {text!r}: the shares add up to {100 * share.sum():g} %",
                f"{name!r} has no other values.", "Give shares that add up to 100 %.",
            )  # fmt: skip
        share += remaining * others / others.sum()
    return Strata(name, names, code, share)


def check_strata(constraint: Constraint, picks: int) -> None:
    """Check that strata have enough tiles for their shares of the budget.

    Args:
        constraint: Constraint, with or without strata.
        picks: Maximum number of tiles within the budget.

    Raises:
        ParameterError: A stratum is too small; the message contains a sufficient budget.
    """
    strata, given = constraint.strata, constraint.given
    if strata is None:
        return
    room, short = strata.room(picks, given)
    if short < 0:
        return
    size = int(strata.sizes()[short] - strata.sizes(given)[short])
    raise ParameterError(
        f"the strata of {strata.name!r} require {100 * strata.share[short]:.3g} % of "
        f"{picks + given.size} tiles with the value {strata.values[short]!r}",
        f"The pool has {size} such tiles.",
        "Give a smaller share of this value" + (f", or a budget of {room} tiles." if room else "."),
    )


def _strata_codes(pool: Pool, name: str) -> tuple[NDArray[np.int64], list[str]]:
    if name != CLASS or name in (pool.attributes or ()):
        return codes_of(pool, name)
    if pool.counts is None:
        raise ParameterError(
            f"strata of {CLASS!r} for a pool without masks",
            f"{CLASS!r} is the most frequent class of the mask of a tile.",
            "Give --masks FOLDER, or use a column.",
        )  # fmt: skip
    code = np.where(pool.counts.any(axis=1), pool.counts.argmax(axis=1), -1)
    classes = range(pool.counts.shape[1]) if pool.legend is None else pool.legend.names
    return code.astype(np.int64), list(map(str, classes))


def codes_of(pool: Pool, name: str) -> tuple[NDArray[np.int64], list[str]]:
    """Return the encoded values of a column, or the scenes of tiles; see `Attributes.codes`."""
    if name == SCENE and pool.tiles is not None:
        return pool.tiles.scene_code.astype(np.int64), list(pool.tiles.scenes)
    known = pool.attributes if pool.attributes is not None else Attributes.of({})
    return known.codes(name)


def _need_ground(pool: Pool, why: str, hint: str) -> None:
    if not pool.georeferenced:
        raise DataError(f"the pool is not georeferenced: {pool.unplaced}", why, hint)


def _points(pool: Pool) -> NDArray[np.float64]:
    """Return the centroids of tiles in geocentric coordinates on WGS84, (n, 3) in metres."""
    points = np.empty((len(pool), 3))
    for start in range(0, len(pool), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(pool)))
        lon, lat = np.radians(middles(pool.take(rows).footprints()))
        square = _FLATTENING * (2 - _FLATTENING)
        radius = _EQUATOR / np.sqrt(1 - square * np.sin(lat) ** 2)
        points[rows] = np.stack([
            radius * np.cos(lat) * np.cos(lon), radius * np.cos(lat) * np.sin(lon),
            radius * (1 - square) * np.sin(lat),
        ], axis=1)  # fmt: skip
    return points
