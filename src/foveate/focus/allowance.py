"""What a look may cost, known before it starts: the budget of passes, and what tiling would take.

Where the user states no passes, a look may spend a third of those that tiling takes: with fewer,
a wide image is a lottery; with more, all of it can be shown. Passes count pixels, so that crops
of few pixels cost next to nothing and passes do not limit their number; each is read, shown and
compared all the same. Hence a second limit, on crops: as many as the passes would pay for if each
were a whole crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foveate.budget import Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST = 24  # passes: below that the first cells and a few crops do not find room
SHARE = 3  # of the passes that tiling takes, the part that a look may spend
MOST_CROPS = 4096  # of crops that cost less than a pass: comparing them takes time and memory


@dataclass(frozen=True)
class Allowance:
    """What a look may spend.

    Attributes:
        passes: Most passes; infinity for no limit.
        crops: Most images that are shown to the model; infinity for no limit.
        tiling: Passes that showing the model every crop of the image would take.
        first: Passes that the overview and the first cells take at most.
        most: Passes that the look cannot exceed whatever its budget; infinity where nothing but
            the budget limits it.
    """

    passes: float
    crops: float
    tiling: float
    first: float = 0.0
    most: float = math.inf

    @property
    def tiling_advised(self) -> bool:
        """Whether showing the model every crop costs no more than the look may."""
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


def allow(
    stated: float | None,
    tiling: float,
    *,
    crop: float = 1.0,
    least: float = LEAST,
    extra: float = 0.0,
    first: float = 0.0,
    most: float = math.inf,
) -> Allowance:
    """Decide what a look may spend.

    Args:
        stated: Passes that the user stated; 0 for no limit, None for a third of `tiling`.
        tiling: Passes that tiling takes.
        crop: Passes that a whole, square crop takes.
        least: Passes that there are at least where the user states none.
        extra: Passes that are spent on something else than the search, besides that third.
        first: Passes without which there is no look.
        most: See `Allowance`.
    """
    if stated == 0:
        return Allowance(math.inf, math.inf, tiling, first, most)
    passes = stated
    if passes is None:
        passes = float(max(least, math.ceil(tiling / SHARE + extra), math.ceil(first)))
    crops = math.ceil(passes / min(crop, 1.0))
    return Allowance(passes, max(math.ceil(passes), min(crops, MOST_CROPS)), tiling, first, most)


def tiles_of(shape: tuple[int, int], side: int) -> int:
    """Return the number of crops of a side that cover an image of ``(height, width)``."""
    return -(-shape[0] // side) * -(-shape[1] // side)


def announced(allowances: Mapping[str, Allowance], instead: str = "") -> str:
    """Say what looks may cost before they start.

    Args:
        allowances: Image -> what its look may spend; one at least.
        instead: The command that shows all of an image, or "".
    """
    may = sum(one.passes for one in allowances.values())
    tiling = sum(one.tiling for one in allowances.values())
    many = len(allowances) > 1
    name = f"{len(allowances)} images" if many else next(iter(allowances))
    limit = f"up to {_count(may)}" if math.isfinite(may) else "no limit of passes"
    text = f"{name}: {limit}; showing the model every crop takes {_count(tiling)}"
    advised = [name for name, one in allowances.items() if one.tiling_advised]
    if not advised:
        return f"{text}."
    what = "no more than that" if not many else f"no more than the look at {len(advised)} of them"
    return f"{text}, {what}" + (f": {instead} shows it all." if instead else ".")


def _count(passes: float) -> str:
    number = f"{passes:,.4g}" if passes < 1000 else f"{passes:,.0f}"
    return f"{number} pass" if number == "1" else f"{number} passes"
