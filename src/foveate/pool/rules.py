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
from foveate.registry import suggest
from foveate.select.constraints import Constraint, Near, Pairs, Quota
from foveate.select.strata import Strata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.pool.pool import Pool

CLASS = "class"  # most frequent one of the mask of a tile, where no column has that name
_NO_VALUE = "(no value)"
_SHOWN = 8  # values in a message
_ROUNDING = 1e-9
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
        strata: Column, "scene", or "class" (the most frequent one of the mask), over whose values
            the picks are spread in proportion to the pool: "region"; "region=equal", or
            "region=north:50%,south:20%", where other values have the rest. None for none.

    Raises:
        ParameterError: A distance that is not positive, a quota that is no share or number, or
            strata in another form.
    """

    max_overlap: float = 1.0
    min_distance: float | None = None
    groups: str | None = None
    quota: Mapping[str, str | int] = field(default_factory=dict)
    strata: str | None = None

    def __post_init__(self) -> None:
        """Check what can be without a pool."""
        if self.min_distance is not None and not 0 < self.min_distance < np.inf:
            raise ParameterError(
                f"min_distance={self.min_distance}", "Metres, more than 0.", "min_distance=1000"
            )
        for name, amount in self.quota.items():
            read_quota(name, amount)
        if self.strata is not None:
            read_strata(self.strata)

    @property
    def plain(self) -> bool:
        """Whether there is no rule but that of overlap."""
        stated = (self.min_distance, self.groups, self.strata)
        return all(rule is None for rule in stated) and not self.quota

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
        if self.strata is not None:
            found.append(Constraint(len(pool), strata=strata_of(pool, self.strata)))
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


def read_strata(text: str) -> tuple[str, Mapping[str, float] | str]:
    """Return the column of strata, and their shares: "pool", "equal", or value -> share.

    Raises:
        ParameterError: Another form, or shares beyond 100 %.
    """
    name, stated, shares = (part.strip() for part in str(text).partition("="))
    if name and not stated:
        return name, "pool"
    if name and shares == "equal":
        return name, "equal"
    found: dict[str, float] = {}
    for part in shares.split(","):
        value, _, share = (one.strip() for one in part.rpartition(":"))
        try:
            amount = Budget.parse({"tiles": share}).limits["tiles"]
        except BudgetError:
            amount = Amount(0.0)
        if not (name and value and amount.share) or value in found:
            raise ParameterError(
                f"strata {text!r}",
                "A column; a column and equal; or a column and shares of its values, each once.",
                "For example region, region=equal, or region=north:50%,south:20%.",
            )
        found[value] = amount.value
    if sum(found.values()) > 1 + _ROUNDING:
        raise ParameterError(
            f"strata {text!r}", f"The shares add up to {100 * sum(found.values()):g} %.",
            "Up to 100 %; what is left goes to the other values.",
        )  # fmt: skip
    return name, found


def strata_of(pool: Pool, text: str) -> Strata:
    """Return strata of the tiles of a pool; those without a value are one of their own.

    Raises:
        ParameterError: There is no such column or value, or shares below 100 % and no other value.
    """
    name, stated = read_strata(text)
    code, values = _strata_codes(pool, name)
    names = (*values, _NO_VALUE)
    code = np.where(code < 0, len(values), code)
    sizes = np.bincount(code, minlength=len(names)).astype(np.float64)
    if stated == "equal":
        there = (sizes > 0) & (np.arange(len(names)) < len(values))
        return Strata(name, names, code, there / max(int(there.sum()), 1))
    share = np.zeros(len(names))
    for value, amount in stated.items() if not isinstance(stated, str) else ():
        if value not in values:
            shown = ", ".join(values[:_SHOWN]) + (" ..." if len(values) > _SHOWN else "")
            raise ParameterError(
                f"strata {text!r}: {name!r} has no value {value!r}", f"Its values: {shown}.",
                suggest(value, values),
            )  # fmt: skip
        share[values.index(value)] = amount
    rest, others = 1 - share.sum(), np.where(share > 0, 0, sizes)
    if rest > _ROUNDING:
        if not others.any():
            raise ParameterError(
                f"strata {text!r}", f"The shares add up to {100 * share.sum():g} %, and {name!r} "
                "has no other value.", "Let them add up to 100 %.",
            )  # fmt: skip
        share += rest * others / others.sum()
    return Strata(name, names, code, share)


def check_strata(constraint: Constraint, picks: int) -> None:
    """Refuse strata that lack tiles for their share of what the budget buys.

    Args:
        constraint: Constraint, with strata or without.
        picks: How many tiles the budget buys at most.

    Raises:
        ParameterError: With what would do.
    """
    strata, given = constraint.strata, constraint.given
    if strata is None:
        return
    room, short = strata.room(picks, given)
    if short < 0:
        return
    size = int(strata.sizes()[short] - strata.sizes(given)[short])
    raise ParameterError(
        f"the strata of {strata.name!r}, of which {strata.values[short]!r} is to have "
        f"{100 * strata.share[short]:.3g} % of {picks + given.size} tiles",
        f"The pool has {size} such tiles to choose from.",
        "State a smaller share of it" + (f", or a budget of {room} tiles." if room else "."),
    )


def _strata_codes(pool: Pool, name: str) -> tuple[NDArray[np.int64], list[str]]:
    if name != CLASS or name in (pool.attributes or ()):
        return codes_of(pool, name)
    if pool.counts is None:
        raise ParameterError(
            f"strata of {CLASS!r} in a pool without masks", "It is the most frequent class of each "
            "mask.", "Give --masks FOLDER, or name a column.",
        )  # fmt: skip
    code = np.where(pool.counts.any(axis=1), pool.counts.argmax(axis=1), -1)
    classes = range(pool.counts.shape[1]) if pool.legend is None else pool.legend.names
    return code.astype(np.int64), list(map(str, classes))


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
