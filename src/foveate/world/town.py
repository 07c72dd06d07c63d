"""Settlements: districts, streets, plots, houses and halls, and the roads between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.world.canvas import CLASS, TALL_UNIT, Site
from foveate.world.network import distance
from foveate.world.noise import direction, lookup, table, worley
from foveate.world.spectra import MATERIAL
from foveate.world.splat import Boxes, Stamp, stamp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.world.cover import Land
    from foveate.world.terrain import Frame, Plan

type F32 = NDArray[np.float32]

SPACING = 330.0  # metres between the seeds of the districts
STREET = 6.6  # metres
# District types: block length and width, plot length, setback from the street, in metres.
HOMES, CENTRE, WORKS, PARK = 0, 1, 2, 3
BLOCKS = np.array(
    [
        (104.0, 58.0, 18.0, 4.5),
        (84.0, 64.0, 15.5, 1.5),
        (170.0, 112.0, 74.0, 9.0),
        (400, 400, 400, 9),
    ],
    np.float32,
)
ROOFS = ("roof_tile", "roof_tile", "roof_brown", "roof_slate", "roof_grey", "roof_tile")
HALL_ROOFS = ("roof_metal", "roof_grey", "roof_flat", "roof_blue", "roof_metal", "roof_grey")


@dataclass(eq=False)
class Town:
    """Settlement fields for later painting functions.

    Attributes:
        road: (h, w) float32 metres to the edge of the nearest paved road.
        core: (h, w) float32 0 at the rim of a settlement to 1 in its middle, below 0 outside.
        clear: (h, w) float32 metres to the nearest street, water or rim; below 0 outside.
        works: (h, w) bool industrial districts.
    """

    road: F32
    core: F32
    clear: F32
    works: NDArray[np.bool_]


def build(site: Site, land: Land) -> Town:
    """Paint settlements and roads on the land."""
    frame, plan = site.frame, site.plan
    road = distance(frame, plan.roads, 40.0)
    core = _core(frame, plan, land, road)
    town = Town(road, core, np.full(frame.shape, -1.0, np.float32), np.zeros(frame.shape, bool))
    at = (core > 0).nonzero()
    if at[0].size:
        _districts(site, land, town, at)
    _roads(site, land, road)
    return town


def _core(frame: Frame, plan: Plan, land: Land, road: F32) -> F32:
    core = np.full(frame.shape, -1.0, np.float32)
    y, x = frame.axes()
    for here in plan.places:
        reach = here.radius * 1.7
        rows = slice(*np.searchsorted(y, (here.y - reach, here.y + reach)))
        cols = slice(*np.searchsorted(x, (here.x - reach, here.x + reach)))
        dy = y[rows, None] - np.float32(here.y)
        dx = x[None, cols] - np.float32(here.x)
        rim = np.float32(1.0) - np.sqrt(dy * dy + dx * dx) * np.float32(1 / here.radius)
        # Houses follow the roads out of the village.
        rim += np.float32(0.34) * (np.float32(1.0) - road[rows, cols] * np.float32(1 / 40.0))
        rim += np.float32(0.12) * land.wiggle[rows, cols] - np.float32(0.12)
        np.maximum(core[rows, cols], rim, out=core[rows, cols])
    core[land.water] = -1.0
    core[land.river < 7.0] = -1.0
    return core


def _districts(
    site: Site, land: Land, town: Town, at: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> None:
    frame, plan, theme = site.frame, site.plan, site.theme
    rng = frame.rng("town")
    jitter, random = (table(rng), table(rng)), table(rng)
    y, x = frame.axes()
    i, j, dx, dy, edge = worley(x[at[1]], y[at[0]], SPACING, jitter)
    code = (i.astype(np.int64) << 32) | (j.astype(np.int64) & 0xFFFFFFFF)
    codes, own = np.unique(code, return_inverse=True)
    ci, cj = (codes >> 32).astype(np.int32), (codes & 0xFFFFFFFF).astype(np.uint32).astype(np.int32)
    seed_x = (cj + np.float32(0.12) + np.float32(0.76) * lookup(jitter[0], ci, cj)) * SPACING
    seed_y = (ci + np.float32(0.12) + np.float32(0.76) * lookup(jitter[1], ci, cj)) * SPACING
    # The type of a district follows from how central it is.
    total = np.bincount(own, minlength=len(codes))
    best = np.full(len(codes), -1.0, np.float32)
    np.maximum.at(best, own, town.core[at])
    dice = lookup(random, ci, cj)
    kind = np.full(len(codes), HOMES)
    kind[best > 0.74] = CENTRE
    big = total * frame.gsd**2 > 4000.0
    kind[(dice < theme.industry) & (best < 0.8) & big] = WORKS
    kind[(dice > 0.93) & big] = PARK
    if theme.industry > 0.15 and (kind == WORKS).sum() == 0 and len(codes) > 3:
        kind[int(np.argmin(np.where(big, best, np.float32(9.0))))] = WORKS
    near = [
        int(np.argmin([(p.y - sy) ** 2 + (p.x - sx) ** 2 for p in plan.places]))
        for sy, sx in zip(seed_y.tolist(), seed_x.tolist(), strict=True)
    ]
    lean = (lookup(random, ci + 5, cj) - 0.5) * 0.7
    turn = [
        direction(plan.places[n].angle + round(float(a), 6))
        for n, a in zip(near, lean, strict=True)
    ]
    cos = np.array([t[0] for t in turn], np.float32)
    sin = np.array([t[1] for t in turn], np.float32)
    u, v = dx * cos[own] + dy * sin[own], dy * cos[own] - dx * sin[own]
    block = BLOCKS[kind]
    street = np.minimum(_to_line(u, block[own, 0]), _to_line(v, block[own, 1]))
    street = np.minimum(np.where(kind[own] == PARK, np.float32(99.0), street), edge)
    street -= np.float32(STREET / 2)
    clear = np.minimum(street, town.road[at])
    clear = np.minimum(clear, town.core[at] * np.float32(180.0))
    clear = np.minimum(clear, land.river[at] - np.float32(6.0))
    town.clear[at] = clear
    plot = np.floor(u / block[own, 2]).astype(np.int32) * np.int32(7) + own.astype(np.int32)
    plot += np.floor(v / (np.float32(0.5) * block[own, 1])).astype(np.int32) * np.int32(131)
    garden = lookup(random, plot, plot >> 5)
    _ground(site, land, town, at, (kind[own], street, garden))
    owner = np.full(frame.shape, -1, np.int32)
    owner[at] = own
    houses = _plots(rng, (seed_y, seed_x), (cos, sin), kind)
    _houses(site, town, owner, houses)


def _to_line(a: F32, period: F32) -> F32:
    t = a / period
    return np.abs(t - np.floor(t) - np.float32(0.5)) * period


def _ground(
    site: Site,
    land: Land,
    town: Town,
    at: tuple[NDArray[np.intp], NDArray[np.intp]],
    fields: tuple[NDArray[np.intp], F32, F32],
) -> None:
    canvas, frame = site.canvas, site.frame
    kind, street, garden = fields
    mottle = land.mottle[at]
    # Every plot has its own ground: lawn, dry lawn, beds, paving.
    lawns = np.array([MATERIAL[m] for m in ("grass_fresh", "grass_fresh", "dirt", "asphalt_old")])
    beds = np.array([MATERIAL[m] for m in ("turf", "grass_dry", "grass_fresh", "concrete")])
    for which, base, other, mix, trees in (
        (HOMES, "grass_fresh", "dirt", 0.3, 52),
        (CENTRE, "grass_fresh", "concrete", 0.4, 34),
        (WORKS, "asphalt_old", "gravel", 0.3, 4),
        (PARK, "turf", "grass_fresh", 0.5, 90),
    ):
        here = kind == which
        where = (at[0][here], at[1][here])
        canvas.paint(
            where,
            "grassland" if which == PARK else "settlement",
            base,
            other,
            mix=mix + 0.12 * mottle[here],
            tone=np.float32(0.92) + np.float32(0.05) * mottle[here],
            trees=trees,
        )
        if which in (HOMES, CENTRE):
            paving = 0.06 if which == HOMES else 0.2
            own = garden[here]
            choice = np.digitize(own, [0.42, 0.72 - paving / 2, 0.98 - paving]).astype(np.intp)
            canvas.base[where], canvas.other[where] = lawns[choice], beds[choice]
            canvas.tone[where] *= np.float32(0.88) + np.float32(0.24) * (own * 17 % 1)
        elif which == WORKS:
            town.works[where] = True
    if frame.gsd <= 6.0:
        paved = street < max(0.0, 0.5 * frame.gsd - STREET / 2)
        paved &= town.core[at] > 0.03
        canvas.paint(
            (at[0][paved], at[1][paved]),
            "road",
            "asphalt_old",
            "asphalt",
            mix=0.4 + 0.1 * mottle[paved],
        )


def _plots(
    rng: np.random.Generator, seed: tuple[F32, F32], turn: tuple[F32, F32], kind: NDArray[np.intp]
) -> dict[str, NDArray]:
    """Place houses along both long sides of every block of every district."""
    (seed_y, seed_x), (cos, sin) = seed, turn
    out: list[NDArray] = []
    for which in (HOMES, CENTRE, WORKS):
        d = (kind == which).nonzero()[0]
        if not d.size:
            continue
        length, width, plot, back = (float(a) for a in BLOCKS[which])
        reach = SPACING * 1.05
        across = np.arange(-int(reach / width) - 1, int(reach / width) + 2) * width
        count = int((length - STREET) / plot)
        within = (np.arange(count) - (count - 1) / 2) * plot
        along = np.arange(-int(reach / length) - 1, int(reach / length) + 2) * length
        u = (along[:, None] + within[None, :]).ravel()
        deep = {HOMES: 8.6, CENTRE: 12.5, WORKS: 38.0}[which]
        offset = width / 2 - STREET / 2 - back - deep / 2
        v = (across[:, None] + np.array([-offset, offset])).ravel()
        grid = np.stack([a.ravel() for a in np.meshgrid(d, u, v, indexing="ij")])
        n = grid.shape[1]
        dice = rng.random((6, n), dtype=np.float32)
        own = grid[0].astype(np.intp)
        shift = {HOMES: 2.6, CENTRE: 0.5, WORKS: 4.0}[which]
        hu = (grid[1] + (dice[0] - 0.5) * shift).astype(np.float32)
        hv = (grid[2] + (dice[1] - 0.5) * shift).astype(np.float32)
        size = {
            HOMES: (9.0 + 4.5 * dice[2], 7.4 + 2.4 * dice[3], 4.6 + 2.8 * dice[4]),
            CENTRE: (13.2 + 2.2 * dice[2], 11.0 + 3.0 * dice[3], 8.0 + 7.0 * dice[4]),
            WORKS: (40.0 + 28.0 * dice[2], 24.0 + 14.0 * dice[3], 7.0 + 5.0 * dice[4]),
        }[which]
        across_street = (dice[5] < 0.22) & (which == HOMES)
        out.append(
            np.stack(
                [
                    seed_y[own] + hu * sin[own] + hv * cos[own],
                    seed_x[own] + hu * cos[own] - hv * sin[own],
                    np.where(across_street, -sin[own], cos[own]),
                    np.where(across_street, cos[own], sin[own]),
                    *size,
                    dice[0],
                    own,
                    np.full(n, which),
                ]
            )
        )
    stack = np.concatenate(out, axis=1) if out else np.empty((10, 0))
    names = ("y", "x", "cos", "sin", "length", "width", "tall", "dice", "own", "kind")
    return dict(zip(names, stack.astype(np.float32), strict=True))


def _houses(site: Site, town: Town, owner: NDArray[np.int32], plots: dict[str, NDArray]) -> None:
    frame = site.frame
    row, col = frame.pixel(plots["y"], plots["x"])
    inside = (row >= 0) & (row < frame.shape[0]) & (col >= 0) & (col < frame.shape[1])
    plots = {name: values[inside] for name, values in plots.items()}
    row, col = row[inside], col[inside]
    need = 0.5 * np.minimum(plots["length"], plots["width"]) + np.where(
        plots["kind"] == WORKS, 1.5, -0.6
    )
    keep = (owner[row, col] == plots["own"]) & (town.clear[row, col] > need)
    # Not every plot is built on.
    keep &= plots["dice"] < np.where(plots["kind"] == HOMES, 0.9, 0.96)
    plots = {name: values[keep] for name, values in plots.items()}
    boxes = Boxes(*(plots[n] for n in ("y", "x", "cos", "sin", "length", "width")))
    works = plots["kind"] == WORKS
    for group in (~works, works):
        chosen = group.nonzero()[0]
        for part in stamp(frame, boxes.take(chosen)):
            which = chosen[part.which]
            _roof(site, part, {k: a[which] for k, a in plots.items()})


def _roof(site: Site, part: Stamp, house: dict[str, NDArray]) -> None:
    canvas, light, at = site.canvas, site.sun, part.at
    free = canvas.label[at] != CLASS["road"]
    at = (at[0][free], at[1][free])
    u, v = part.u[free], part.v[free]
    house = {name: values[free] for name, values in house.items()}
    works = house["kind"] == WORKS
    pick = (house["dice"] * np.float32(997.0)).astype(np.int32)
    roofs = np.array([MATERIAL[name] for name in ROOFS], np.uint8)
    halls = np.array([MATERIAL[name] for name in HALL_ROOFS], np.uint8)
    base = np.where(works, halls[pick % len(halls)], roofs[pick % len(roofs)])
    flat = works | ((house["kind"] == CENTRE) & (pick % 3 == 0))
    base = np.where(flat & ~works, np.uint8(MATERIAL["roof_flat"]), base)
    # A gable roof: the side that faces the sun is brighter. v points along (-sin, cos).
    facing = np.where(v > 0, 1.0, -1.0) * (house["cos"] * light.south - house["sin"] * light.east)
    tone = np.where(flat, 1.0, 1.0 + 0.24 * facing).astype(np.float32)
    ridge = np.where(np.abs(v) < 0.35, np.where(flat, 0.95, 1.06), 1.0)
    bays = np.where(works & (np.abs(u - np.round(u / 12.0) * 12.0) < 0.8), 0.88, 1.0)
    tone = tone * ridge * bays * (0.9 + 0.2 * (pick % 7) / 6.0)
    canvas.label[at] = CLASS["building"]
    canvas.base[at] = base
    canvas.other[at] = base
    canvas.mix[at] = 0
    canvas.tone[at] = tone.astype(np.float32)
    canvas.trees[at] = 0
    rise = np.where(flat, 0.0, 1.0 - np.abs(v) * 2.0 / house["width"]) * 2.2
    canvas.tall[at] = ((house["tall"] + rise) / TALL_UNIT).astype(np.uint8)


def _roads(site: Site, land: Land, road: F32) -> None:
    canvas, frame, plan = site.canvas, site.frame, site.plan
    if plan.tracks and frame.gsd < 5.0:
        track = distance(frame, plan.tracks, 8.0)
        at = (
            (track < max(0.0, 0.5 * frame.gsd - 1.7)) & (canvas.label != CLASS["building"])
        ).nonzero()
        dry = ~land.water[at] & (canvas.label[at] != CLASS["road"])
        dry &= canvas.label[at] != CLASS["settlement"]
        at = (at[0][dry], at[1][dry])
        canvas.paint(at, "road", "dirt", "gravel", mix=0.3 + 0.3 * land.mottle[at])
    wide = max(0.0, 0.5 * frame.gsd - 3.5)
    verge = ((road < 2.2) & (road >= wide)).nonzero()
    soft = ~land.water[verge] & (canvas.label[verge] != CLASS["settlement"])
    soft &= (canvas.label[verge] != CLASS["building"]) & (canvas.label[verge] != CLASS["road"])
    if frame.gsd < 2.5:
        verge = (verge[0][soft], verge[1][soft])
        canvas.paint(verge, "grassland", "grass_fresh", "grass_dry", mix=0.4)
    at = (road < wide).nonzero()
    wet = land.water[at]
    canvas.paint(at, "road", "asphalt", "asphalt_old", mix=0.45 + 0.15 * land.wiggle[at])
    if frame.gsd <= 0.7:
        middle = np.abs(road[at] + 3.6) < 0.4
        canvas.tone[at] = np.where(middle, 1.35, 1.0)
    canvas.base[at] = np.where(wet, MATERIAL["concrete"], canvas.base[at])
    canvas.tall[at] = np.where(wet, 22, 0)
