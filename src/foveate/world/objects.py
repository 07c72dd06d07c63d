"""Rare objects: allowed locations, counts and exact boxes.

Objects are always complete: their pixels and a margin of one pixel are inside the
scene, inside the acquisition frame, outside clouds and separate from all other objects. Objects
smaller than a pixel are drawn as one or two pixels of diluted contrast, as in sensor data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.world.canvas import CLASS, Site
from foveate.world.draw import DRAW, Pose
from foveate.world.noise import direction
from foveate.world.spec import OBJECT_KINDS, Object
from foveate.world.splat import Stamp, stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from foveate.world.cover import Land
    from foveate.world.town import Town

MOST = 400  # objects of one kind in one scene
TRIES = 60  # candidate positions per requested object


@dataclass(frozen=True)
class Kind:
    """Placement rules of one kind of object.

    Attributes:
        length: Smallest and largest length in metres.
        ratio: Smallest and largest width relative to the length.
        margin: Free land around the object in metres.
        on: Classes that the object and its margin may replace.
        flock: Probability that the object is next to the previous one.
        gap: Distance to the previous one in lengths.
    """

    length: tuple[float, float]
    ratio: tuple[float, float]
    margin: float
    on: tuple[str, ...]
    flock: float = 0.0
    gap: tuple[float, float] = (1.2, 2.0)


ROUND = ("pivot_field", "storage_tank", "wind_turbine")
OPEN = ("cropland", "grassland", "bare")
KINDS: dict[str, Kind] = {
    "pivot_field": Kind(
        (240.0, 620.0), (1.0, 1.0), 4.0, (*OPEN, "orchard", "forest"), 0.4, (1.04, 1.2)
    ),
    "solar_park": Kind((110.0, 190.0), (0.5, 0.8), 4.0, (*OPEN, "orchard")),
    "sports_ground": Kind((128.0, 136.0), (0.66, 0.7), 2.0, (*OPEN, "settlement", "orchard")),
    "wind_turbine": Kind((84.0, 112.0), (1.0, 1.0), 2.0, (*OPEN, "forest", "orchard")),
    "greenhouse": Kind((48.0, 84.0), (0.45, 0.8), 4.0, (*OPEN, "orchard"), 0.5, (1.15, 1.5)),
    "storage_tank": Kind((17.0, 34.0), (1.0, 1.0), 3.0, (*OPEN, "settlement"), 0.72, (1.25, 1.7)),
    "pool": Kind((8.0, 12.5), (0.45, 0.55), 1.4, ("settlement",)),
    "boat": Kind((7.5, 17.0), (0.27, 0.36), 2.0, ("water",), 0.45, (1.0, 3.5)),
}


@dataclass(eq=False)
class Search:
    """State of the placement of one kind of object.

    Attributes:
        site: The scene.
        kind: How objects of the kind are placed.
        name: Name of the kind.
        allowed: (256,) bool, classes that may be replaced.
        busy: (h, w) bool, no longer available; changed in place.
    """

    site: Site
    kind: Kind
    name: str
    allowed: NDArray[np.bool_]
    busy: NDArray[np.bool_]


def place(site: Site, land: Land, town: Town, free: NDArray[np.bool_]) -> list[Object]:
    """Draw the rare objects of a scene, largest kinds first.

    Args:
        site: The scene, with its land and settlements painted.
        land: Fields of the land.
        town: Fields of the settlements.
        free: (h, w) bool, allowed pixels: valid and cloud-free.

    Returns:
        The objects with the tight boxes of their pixels, sorted by row and column.
    """
    frame, busy = site.frame, ~free
    out: list[Object] = []
    area = frame.shape[0] * frame.shape[1] * frame.gsd**2 / 1e6
    for name, kind in KINDS.items():
        lowest, density = site.theme.rare.get(name, (0, 0.0))
        wanted = min(max(lowest, round(density * area)), MOST)
        if not wanted:
            continue
        rng = frame.rng(f"objects/{name}")
        allowed = np.isin(np.arange(256), [CLASS[c] for c in kind.on])
        search = Search(site, kind, name, allowed, busy)
        out += _scatter(search, land, _spots(search, town, rng), wanted, rng)
    return sorted(out, key=lambda o: (o.y, o.x, o.kind))


def _spots(search: Search, town: Town, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Candidate centres (m) in the order in which they are tried."""
    name, canvas, frame, plan = search.name, search.site.canvas, search.site.frame, search.site.plan
    every = max(1, int(4.0 / frame.gsd))
    cut = (slice(every // 2, None, every), slice(every // 2, None, every))
    label, road, core = canvas.label[cut], town.road[cut], town.core[cut]
    rules: dict[str, Callable[[], NDArray[np.bool_]]] = {
        "boat": lambda: label == CLASS["water"],
        "pool": lambda: (label == CLASS["settlement"]) & ~town.works[cut] & (town.clear[cut] > 4.0),
        "storage_tank": lambda: town.works[cut] & (town.clear[cut] > 6.0),
        "sports_ground": lambda: (core > -0.9) & (core < 0.4) & (label != CLASS["water"]),
        "wind_turbine": lambda: (core <= -1.0) & (road > 30.0),
        "greenhouse": lambda: (core <= 0.0) & (road > 6.0) & (road < 40.0),
    }
    openland = np.isin(label, [CLASS[c] for c in (*OPEN, "orchard")])
    good = rules[name]() if name in rules else openland
    if name in ("sports_ground", "storage_tank") and good.sum() < 30:
        good = openland
    row, col = good.nonzero()
    pick = rng.permutation(row.size)[: TRIES * MOST]
    row, col = row[pick] * every + every // 2, col[pick] * every + every // 2
    if name == "wind_turbine" and row.size:
        # Ridges first: of any eight candidates in a row, the highest is tried.
        cells = np.clip(
            np.stack([row * frame.gsd + frame.y0, col * frame.gsd + frame.x0]) / plan.step, 0, None
        ).astype(int)
        high = plan.height[
            np.minimum(cells[0], plan.height.shape[0] - 1),
            np.minimum(cells[1], plan.height.shape[1] - 1),
        ]
        groups = np.arange(row.size) // 8
        order = np.lexsort((-high, groups))
        first = order[np.unique(groups, return_index=True)[1]]
        row, col = row[first], col[first]
    return (row + 0.5) * frame.gsd + frame.y0, (col + 0.5) * frame.gsd + frame.x0


def _scatter(
    search: Search,
    land: Land,
    spots: tuple[NDArray, NDArray],
    wanted: int,
    rng: np.random.Generator,
) -> list[Object]:
    name, kind, frame = search.name, search.kind, search.site.frame
    out: list[Object] = []
    # Objects are not scaled down: a small scene may have none.
    limit = 0.42 * min(frame.shape) * frame.gsd
    if limit < kind.length[0]:
        return out
    last: tuple[float, float, float, int, float] | None = None
    k = 0
    for _ in range(wanted * TRIES):
        if len(out) == wanted or k >= spots[0].size:
            break
        dice = rng.random(8)
        length = kind.length[0] + (kind.length[1] - kind.length[0]) * dice[0]
        turn = int(dice[2] * 64)
        if last is not None and dice[1] < kind.flock:
            gap = last[2] * (kind.gap[0] + (kind.gap[1] - kind.gap[0]) * dice[3])
            cos, sin = direction(last[4] + 1.5708 * int(dice[4] * 4))
            y, x = last[0] + gap * sin, last[1] + gap * cos
            # Neighbours are similar: one harbour, one tank farm, one row of greenhouses.
            turn, length, angle = last[3], last[2] * (0.92 + 0.16 * dice[0]), last[4]
            last = None if dice[7] < 0.08 else last
        else:
            y, x = float(spots[0][k]), float(spots[1][k])
            angle = float(dice[5]) * 6.28
            k += 1
        length = min(length, limit)
        width = length * (kind.ratio[0] + (kind.ratio[1] - kind.ratio[0]) * dice[6])
        if name == "solar_park":
            cos, sin = 1.0, 0.0  # rows of panels run east to west
        elif name in ("greenhouse", "sports_ground"):
            cos, sin = float(land.mosaic.cos[turn]), float(land.mosaic.sin[turn])
        else:
            cos, sin = direction(angle)
        shown = (max(length, 1.45 * frame.gsd), max(width, 1.45 * frame.gsd))
        dilution = min(1.0, max(length * width / (shown[0] * shown[1]), 0.3))
        found = _try(search, Pose(y, x, cos, sin, *shown, dilution))
        if found is not None:
            out.append(found)
            last = (y, x, length, turn, angle)
    return out


def _try(search: Search, pose: Pose) -> Object | None:
    """Draw one object if it fits completely."""
    canvas, frame, name = search.site.canvas, search.site.frame, search.name
    margin = max(search.kind.margin, frame.gsd)
    reach = 0.5 * math.sqrt(pose.length**2 + pose.width**2) + margin + 1.5 * frame.gsd
    low = ((pose.y - reach - frame.y0) / frame.gsd, (pose.x - reach - frame.x0) / frame.gsd)
    side = math.ceil(2 * reach / frame.gsd)
    top, left = math.floor(low[0]), math.floor(low[1])
    h, w = frame.shape
    if top < 0 or left < 0 or top + side >= h or left + side >= w:
        return None
    around = next(stamp(frame, pose.boxes(margin)))
    if name in ROUND:
        ring = around.u**2 + around.v**2 <= np.float32((0.5 * pose.length + margin) ** 2)
        at = (around.at[0][ring], around.at[1][ring])
        around = Stamp(at, around.which[ring], around.u[ring], around.v[ring])
    if search.busy[around.at].any() or not search.allowed[canvas.label[around.at]].all():
        return None
    rows, cols = DRAW[name](search.site, pose, around)
    if not rows.size:
        return None
    canvas.label[rows, cols] = CLASS[OBJECT_KINDS[name]]
    search.busy[around.at] = True
    y, x = int(rows.min()), int(cols.min())
    return Object(name, y, x, int(rows.max()) - y + 1, int(cols.max()) - x + 1)
