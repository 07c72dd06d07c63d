"""What a selection came to: shares, costs, and what a person should know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.observe.calibrate import drift
from foveate.observe.cost import mocr, obr, two_scale_price
from foveate.observe.target import cautions, resolutions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.budget import Budget
    from foveate.observe.record import Record
    from foveate.observe.target import Target
    from foveate.pool.pool import Pool
    from foveate.selection import Selection


def areas(pool: Pool) -> NDArray[np.float64]:
    """Return (n,) valid ground of each tile: square metres, or pixels without a georeference."""
    return pool.costs()["area" if pool.georeferenced else "pixels"]


def describe_selection(
    target: Target, record: Record, selection: Selection, *, budget: Budget | None,
    threshold: float | None, expected: float | None, lr_cost: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """Return shares and costs of a selection, JSON-ready.

    Args:
        target: Tiles and overviews.
        record: The observer's.
        selection: What was chosen.
        budget: Under which budget, or None.
        threshold: Calibrated score above which tiles were chosen, or None.
        expected: Share of the area that a threshold should choose, or None.
        lr_cost: Price of LR per area, as a share of that of HR.
    """
    area = areas(target.pool)
    chosen = area[selection.rows]
    share = obr(chosen, area)
    low, high, source = resolutions(target, record)
    gsd = None if target.gsd is None else [min(target.gsd), max(target.gsd)]
    by_scene = _by_scene(target, selection, area)
    return {
        "obr": share,
        "mocr": _mocr(chosen, area, low, high, lr_cost),
        "tiles": len(target.pool),
        "chosen": len(selection),
        "scenes": len(target.overviews),
        "threshold": threshold,
        "expected_obr": expected,
        "drift": None if expected is None else drift(share, expected),
        "per_scene": {
            "min": float(by_scene.min()),
            "median": float(np.median(by_scene)),
            "max": float(by_scene.max()),
        },
        "area": {
            "unit": "m2" if target.pool.georeferenced else "pixels",
            "chosen": float(chosen.sum()),
            "all": float(area.sum()),
        },
        "budget": None if budget is None else str(budget),
        "unspent": dict(selection.unspent),
        "supervision": record.supervision,
        "trained_obr": record.obr,
        "tile": {
            "pixels": float(np.median(target.sides)),
            "metres": None
            if target.gsd is None
            else float(np.median(np.multiply(target.sides, target.gsd))),
        },
        "gsd": gsd,
        "resolutions": {"lr": low, "hr": high, "from": source, "lr_cost": lr_cost},
        "lr_suffices": [
            concept.name
            for concept in record.concepts
            if gsd is not None and concept.min_gsd is not None and gsd[1] <= concept.min_gsd
        ],
        "pairs": target.pairs is not None,
        "notes": _notes(target, record, low, source),
    }


def training_evidence(record: Record, policy: str) -> dict[str, Any]:
    """Return what the training found of the policy on held-out scenes, JSON-ready.

    Args:
        record: The observer's.
        policy: That the tiles were chosen by.

    Returns:
        "known": whether the training has compared this policy with random tiles. If so "measure"
        and "shares" (of the curve whose mean height is compared), "split", "scenes", "groups",
        "random" and "value" (the two heights), "difference" (mean, low, high; or None), "p",
        "verdict" ("better", "worse", "tied", "open", or None) and "best", the policy of the
        highest value, random included.
    """
    held_out = record.held_out
    compared = held_out["against_random"]["policies"] if held_out is not None else {}
    if held_out is None or policy not in compared:
        return {"known": False}
    random, own = held_out["against_random"]["random"], compared[policy]
    values = {"random": random, **{name: one["area"] for name, one in compared.items()}}
    return {
        "known": True,
        **{key: held_out[key] for key in ("measure", "shares", "split", "scenes")},
        "groups": held_out["against_random"]["groups"],
        "random": random,
        "value": own["area"],
        **{key: own[key] for key in ("difference", "p", "verdict")},
        "best": max(values, key=lambda name: -np.inf if values[name] is None else values[name]),
    }


def _notes(target: Target, record: Record, ratio: float, source: str) -> list[str]:
    notes = cautions(target, record)
    if source == "assumed":
        notes.append(f"An HR pixel is taken to have 1/{ratio:g} of the side of an LR pixel.")
    if not target.pool.georeferenced:
        notes.append(
            f"Areas are counted in pixels, and there is no tiles.geojson: {target.pool.unplaced}."
        )
    return notes


def _by_scene(
    target: Target, selection: Selection, area: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the share of the area of each scene with tiles that was chosen."""
    number = target.place[:, 0]
    whole = np.bincount(number, area)
    got = np.bincount(number, area * selection.mask(), len(whole))
    return got[whole > 0] / whole[whole > 0]


def _mocr(
    chosen: NDArray[np.float64], area: NDArray[np.float64], low: float, high: float, lr_cost: float
) -> float:
    """Return the MOCR of all in LR and what was chosen in HR on top (Eq. 11)."""
    return mocr(
        np.append(chosen, area.sum()), np.append(np.full(len(chosen), high), low),
        two_scale_price(high, low, lr_cost=lr_cost), area, finest=high,
    )  # fmt: skip
