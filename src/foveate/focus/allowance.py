"""Budget of a look: the number of passes and crops that a look may take, and its parsing.

Without stated passes, the budget of a look is a third of the passes of tiling. Below that the
result on a wide image depends on chance; above it the whole image can be shown instead. Passes
count pixels, so small crops are cheap and the passes do not limit their number, but each crop
still has to be read, encoded and compared. Hence a second limit, on crops: the number of whole
crops that the passes would pay for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foveate.budget import Budget, Ledger
from foveate.errors import BudgetError

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS = ("regions", "tiles", "passes", "area")

LEAST_PASSES = 24  # minimum of the default budget: the first cells and a few crops

TILING_SHARE = 3  # a look may spend 1 / TILING_SHARE of the passes of tiling

MOST_CROPS = 4096  # limit on crops smaller than a pass: comparing them takes time and memory


@dataclass(frozen=True)
class Allowance:
    """Limits on passes and crops of a look.

    Attributes:
        passes: Maximum number of passes; infinity for no limit.
        crops: Maximum number of encoded images; infinity for no limit.
        tiling: Passes of tiling, i.e. of encoding every crop of the image.
        first: Maximum number of passes of the overview and the first cells.
        most: Passes that the look cannot exceed whatever its budget; infinity if only the budget
            limits it.
    """

    passes: float
    crops: float
    tiling: float
    first: float = 0.0
    most: float = math.inf

    @property
    def tiling_advised(self) -> bool:
        """Whether tiling costs no more than the look may."""
        return self.tiling <= min(self.passes, self.most)

    def ledger(self) -> Ledger:
        """Open the ledger of the look."""
        limits = {"passes": self.passes, "crops": self.crops}
        return Ledger({unit: limit for unit, limit in limits.items() if math.isfinite(limit)})

    def facts(self) -> dict[str, Any]:
        """Return the result's "passes_budget", "passes_tiling" and "tiling_advised"."""
        return {
            "passes_budget": round(self.passes, 6) if math.isfinite(self.passes) else None,
            "passes_tiling": round(self.tiling, 6),
            "tiling_advised": self.tiling_advised,
        }


def make_allowance(
    stated: float | None,
    tiling: float,
    *,
    crop: float = 1.0,
    least: float = LEAST_PASSES,
    extra: float = 0.0,
    first: float = 0.0,
    most: float = math.inf,
) -> Allowance:
    """Return the limits of a look.

    Args:
        stated: Passes given by the user; 0 for no limit, None for a third of `tiling`.
        tiling: Passes of tiling.
        crop: Passes of a whole, square crop.
        least: Minimum of the default number of passes.
        extra: Passes outside the search, added to the default number.
        first: Minimum number of passes of a look.
        most: See `Allowance`.
    """
    if stated == 0:
        return Allowance(math.inf, math.inf, tiling, first, most)
    passes = stated
    if passes is None:
        passes = float(max(least, math.ceil(tiling / TILING_SHARE + extra), math.ceil(first)))
    crops = math.ceil(passes / min(crop, 1.0))
    return Allowance(passes, max(math.ceil(passes), min(crops, MOST_CROPS)), tiling, first, most)


def tile_count(shape: tuple[int, int], side: int) -> int:
    """Return the number of square crops that cover an image of ``(height, width)`` pixels."""
    return -(-shape[0] // side) * -(-shape[1] // side)


def announcement(allowances: Mapping[str, Allowance], instead: str = "") -> str:
    """Format a message with the maximum cost of looks and the cost of tiling.

    Args:
        allowances: Limits of the look by image; at least one.
        instead: Command that encodes the whole image, or "".
    """
    may = sum(one.passes for one in allowances.values())
    tiling = sum(one.tiling for one in allowances.values())
    many = len(allowances) > 1
    name = f"{len(allowances)} images" if many else next(iter(allowances))
    limit = f"up to {_count(may)}" if math.isfinite(may) else "no limit on passes"
    text = f"{name}: {limit}; tiling takes {_count(tiling)}"
    advised = [name for name, one in allowances.items() if one.tiling_advised]
    if not advised:
        return f"{text}."
    what = "no more than the look" + (f" for {len(advised)} of them" if many else "")
    return f"{text}, {what}" + (f": {instead} encodes every crop." if instead else ".")


def _count(passes: float) -> str:
    number = f"{passes:,.4g}" if passes < 1000 else f"{passes:,.0f}"
    return f"{number} pass" if number == "1" else f"{number} passes"


def budget_limits(
    budget: Mapping[str, float | str | None] | None,
) -> tuple[dict[str, Any], float | None]:
    """Parse a budget into options of `SearchConfig` and the passes.

    Raises:
        BudgetError: A unit is unknown, or an amount is a share in a unit without a total.
    """
    search: dict[str, Any] = {}
    passes: float | None = None
    given = {unit: amount for unit, amount in (budget or {}).items() if amount is not None}
    if given.get("passes") == 0:
        del given["passes"]
        passes = 0.0
    for unit, amount in Budget.parse(given).limits.items() if given else ():
        if unit not in _UNITS:
            raise BudgetError(
                f"unknown unit {unit!r} in the budget",
                f"Allowed: {', '.join(_UNITS)}.",
                "Use {'passes': 24}.",
            )
        if amount.share != (unit == "area"):
            raise BudgetError(
                f"a budget of {amount} {unit}",
                "The area must be a share of the image, the other amounts numbers.",
                "Use {'regions': 8, 'passes': 24, 'area': '10%'}.",
            )
        if unit == "passes":
            passes = amount.value
        elif unit == "area":
            search["area"] = amount.value
        elif amount.value != int(amount.value):
            raise BudgetError(f"{amount.value:g} {unit}", "It must be an integer.")
        else:
            search["regions"] = int(amount.value)
    return search, passes
