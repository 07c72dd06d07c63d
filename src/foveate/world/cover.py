"""Natural land cover and farmland: water, shores, wetland, forest, wild grass, parcels, rock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.world.canvas import CLASS, Canvas, share
from foveate.world.network import distance
from foveate.world.noise import TABLE, lookup, smoothstep, table, triangle
from foveate.world.parcels import Mosaic, Parcels
from foveate.world.spectra import MATERIAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.world.terrain import Frame, Plan
    from foveate.world.themes import Theme

type F32 = NDArray[np.float32]

ROWS = 256  # rows painted at once: temporaries stay small
RIVER_REACH = 60.0  # metres up to which the distance to a river is exact

# Material, second material, lowest and highest share of the second, frequency, row contrast.
CROPS: tuple[tuple[str, str, float, float, float, float], ...] = (
    ("crop_dense", "crop_young", 0.0, 0.7, 0.26, 0.05),
    ("crop_young", "soil", 0.05, 0.5, 0.15, 0.10),
    ("maize", "soil", 0.0, 0.22, 0.12, 0.08),
    ("ripe", "stubble", 0.0, 0.6, 0.20, 0.05),
    ("stubble", "soil", 0.0, 0.5, 0.10, 0.07),
    ("rape", "crop_dense", 0.0, 0.35, 0.04, 0.05),
    ("soil", "stubble", 0.0, 0.12, 0.13, 0.11),
)


@dataclass(eq=False)
class Land:
    """Full-resolution fields that several painters share.

    Attributes:
        river: (h, w) float32 metres to the river's bank, negative in the river.
        water: (h, w) bool.
        wiggle: (h, w) float32 fractal noise of about 100 m, unit deviation.
        mottle: (h, w) float32 fractal noise of about 25 m, unit deviation.
        mosaic: The parcels.
        textures: Periodic tables: white noise, and smooth noise.
    """

    river: F32
    water: NDArray[np.bool_]
    wiggle: F32
    mottle: F32
    mosaic: Mosaic
    textures: tuple[F32, F32]


def paint(canvas: Canvas, frame: Frame, plan: Plan, theme: Theme, height: F32) -> Land:
    """Paint everything that people have not built.

    Args:
        canvas: Layers to paint into.
        frame: The pixel grid.
        plan: The plan of the scene.
        theme: Its character.
        height: (h, w) float32 metres.

    Returns:
        The fields that later painters need.
    """
    wiggle = frame.fractal("wiggle", 110.0, gain=0.6)
    mottle = frame.fractal("mottle", 26.0, gain=0.75)
    rng = frame.rng("textures")
    textures = (table(rng), table(rng, smooth=2))
    river = distance(frame, plan.rivers, RIVER_REACH)
    if plan.rivers:
        narrow = min(float(line.width.min()) for line in plan.rivers)
        river += wiggle * np.float32(0.05 * narrow)
    lake = frame.resample(plan.lake, plan.step) + wiggle * np.float32(0.035)
    shore = height + wiggle * np.float32(0.35) if theme.sea else None
    land = Land(
        river=river,
        water=(river < 0) | (lake < 0),
        wiggle=wiggle,
        mottle=mottle,
        mosaic=Mosaic(frame, theme.parcel),
        textures=textures,
    )
    if shore is not None:
        land.water |= shore < 0
    far = frame.resample(np.minimum(plan.river_far, np.float32(500.0)), plan.step)
    wood, meadow = _scores(frame, plan, theme, land, height)
    y, x = frame.axes()
    for top in range(0, frame.shape[0], ROWS):
        rows = slice(top, min(top + ROWS, frame.shape[0]))
        grid = np.broadcast_arrays(x[None, :], y[rows, None])
        # Parcel borders bend a little with the land.
        bend = wiggle[rows] * np.float32(1.2) + height[rows] * np.float32(0.6)
        parcels = land.mosaic.at(grid[0] + bend, grid[1] - bend)
        _natural(canvas, frame, theme, land, rows, parcels, (wood, meadow))
        _farm(canvas, frame, theme, land, rows, parcels)
        near = np.minimum(
            np.where(river[rows] < RIVER_REACH, river[rows], far[rows]), far[rows] + 30
        )
        near = np.minimum(near, lake[rows] * np.float32(160.0))
        _wet(canvas, theme, land, rows, near)
        depth = np.maximum(-river[rows] * np.float32(0.12), -lake[rows] * np.float32(14.0))
        if shore is not None:
            depth = np.maximum(depth, -shore[rows])
            _beach(canvas, land, rows, shore[rows])
        _water(canvas, theme, land, rows, depth)
    return land


def _scores(frame: Frame, plan: Plan, theme: Theme, land: Land, height: F32) -> tuple[F32, F32]:
    """Suitability for forest and for wild grassland, above 0 where they grow."""
    wood = frame.fractal("wood", min(520.0, 0.4 * max(frame.domain)), gain=0.5)
    gy, gx = np.gradient(plan.height, plan.step)
    slope = frame.resample(np.sqrt(gy * gy + gx * gx).astype(np.float32), plan.step)
    wood += np.minimum(slope, np.float32(0.5)) * np.float32(7.0)
    bank = np.clip(land.river, 0, None)
    if max((line.width.max() for line in plan.rivers), default=0.0) > 5.0:
        wood += np.float32(1.9) / (np.float32(1.0) + (bank * np.float32(1 / 14.0)) ** 2)
    dry = ~land.water[::4, ::4]
    wood -= _top(wood[::4, ::4][dry], theme.forest)
    meadow = frame.fractal("meadow", 420.0, gain=0.5) - height * np.float32(0.0)
    meadow += np.float32(1.6) / (np.float32(1.0) + (bank * np.float32(1 / 35.0)) ** 2)
    meadow -= _top(meadow[::4, ::4][dry], theme.wild)
    return wood, meadow


def _top(values: F32, share_of: float) -> np.float32:
    """Exact value above which `share_of` of the values lie."""
    if values.size == 0:
        return np.float32(0.0)
    k = min(max(int((1.0 - share_of) * values.size), 0), values.size - 1)
    return np.partition(values, k)[k]


def _natural(
    canvas: Canvas,
    frame: Frame,
    theme: Theme,
    land: Land,
    rows: slice,
    parcels: Parcels,
    scores: tuple[F32, F32],
) -> None:
    wood, meadow = scores
    mottle, wiggle = land.mottle[rows], land.wiggle[rows]
    h, w = frame.shape
    # A wood ends where a parcel ends as often as where the slope does.
    scale = np.float32(1.0 / frame.gsd)
    row = np.arange(rows.start, rows.stop, dtype=np.int32)[:, None]
    row = np.clip(row + (parcels.to_y * scale).astype(np.int32), 0, h - 1)
    col = np.clip(np.arange(w, dtype=np.int32) + (parcels.to_x * scale).astype(np.int32), 0, w - 1)
    own = np.float32(0.35)
    forest = own * wood[rows] + (1 - own) * wood[row, col] > 0
    wild = own * meadow[rows] + (1 - own) * meadow[row, col] > 0
    # Wild grass, heath or steppe.
    dry = share(theme.arid + 0.16 * wiggle + 0.10 * mottle + 0.12)
    here = (rows, slice(None))
    base = "heath" if theme.conifer > 0.5 and theme.arid < 0.2 else "grass_fresh"
    scrub = np.clip(8.0 + 16.0 * wiggle + 6 * mottle, 0, 60) * (1.0 - 0.3 * theme.arid)
    canvas.paint(
        here,
        "grassland",
        "grass_fresh",
        "grass_dry",
        mix=dry / np.float32(255.0),
        tone=np.float32(1.0) + np.float32(0.06) * mottle + np.float32(0.04) * wiggle,
        trees=scrub.astype(np.uint8),
    )
    if base == "heath":
        canvas.base[rows] = np.where(wiggle > 0.3, MATERIAL["heath"], canvas.base[rows])
    if theme.arid > 0.5:
        canvas.base[rows] = np.where(
            wiggle + mottle * 0.5 > 0.2, MATERIAL["soil_pale"], canvas.base[rows]
        )
    canvas.conifer[rows] = share(
        np.float32(theme.conifer)
        + np.float32(0.45) * wood[row, col]
        - np.float32(0.3)
        + np.float32(0.25) * wiggle
    )
    use = land.mosaic.draw(parcels.key, 1)
    farm = ~forest & ~wild
    canvas.label[rows] = np.where(farm, CLASS["cropland"], canvas.label[rows])
    crop, pasture, orchard, fallow = theme.crops
    total = crop + pasture + orchard + fallow
    edges = np.cumsum(np.array([crop, pasture, orchard]) / total)
    canvas.label[rows][farm & (use >= edges[0]) & (use < edges[1])] = CLASS["grassland"]
    canvas.label[rows][farm & (use >= edges[1]) & (use < edges[2])] = CLASS["orchard"]
    canvas.label[rows][farm & (use >= edges[2])] = CLASS["bare"]
    canvas.trees[rows][farm] = 0
    _forest(canvas, land, rows, forest)


def _forest(canvas: Canvas, land: Land, rows: slice, forest: NDArray[np.bool_]) -> None:
    mottle, wiggle = land.mottle[rows], land.wiggle[rows]
    canvas.label[rows][forest] = CLASS["forest"]
    conifer = canvas.conifer[rows]
    canvas.base[rows] = np.where(forest, MATERIAL["broadleaf"], canvas.base[rows])
    canvas.other[rows] = np.where(forest, MATERIAL["conifer"], canvas.other[rows])
    canvas.mix[rows] = np.where(forest, conifer, canvas.mix[rows])
    tone = np.float32(0.98) + np.float32(0.10) * mottle + np.float32(0.05) * wiggle
    canvas.tone[rows] = np.where(forest, tone, canvas.tone[rows])
    canvas.trees[rows] = np.where(forest, 245, canvas.trees[rows])


def _farm(
    canvas: Canvas, frame: Frame, theme: Theme, land: Land, rows: slice, parcels: Parcels
) -> None:
    mosaic, mottle, wiggle = land.mosaic, land.mottle[rows], land.wiggle[rows]
    label = canvas.label[rows]
    forest = label == CLASS["forest"]
    used = (label == CLASS["cropland"]) | (label == CLASS["bare"]) | (label == CLASS["orchard"])
    tint = (mosaic.draw(parcels.key, 2) - np.float32(0.5)) * np.float32(0.2)
    kind = mosaic.draw(parcels.key, 3)
    stage = mosaic.draw(parcels.key, 4)
    rows_of = np.where(mosaic.draw(parcels.key, 5) < np.float32(0.85), parcels.v, parcels.u)
    along = np.where(rows_of == parcels.v, parcels.u, parcels.v)
    # Stretched noise: sowing, soil and machines leave streaks along the rows.
    i = np.floor(rows_of * np.float32(1.0 / max(1.4, 1.1 * frame.gsd))).astype(np.int32)
    j = np.floor(along * np.float32(1.0 / max(22.0, 4 * frame.gsd))).astype(np.int32)
    streak = lookup(land.textures[1], i + parcels.key, j) - np.float32(0.5)
    lines = np.zeros_like(streak)
    pace = 18.0 + 6.0 * np.floor(stage * np.float32(3.0))  # metres between tramlines
    if frame.gsd <= 4.0:
        off = np.abs(triangle(rows_of / pace))
        lines = np.where(off > np.float32(1.0 - max(1.1, frame.gsd) / 10.0), 1.0, 0.0)
    patch = np.float32(0.30) * wiggle + np.float32(0.16) * mottle
    cut = np.cumsum([crop[4] for crop in CROPS])
    crop_of = np.searchsorted(cut / cut[-1], kind.ravel(), side="right").reshape(kind.shape)
    crop_of = np.minimum(crop_of, len(CROPS) - 1)
    crop_of = np.where(label == CLASS["bare"], 6, crop_of)
    crop_of = np.where(label == CLASS["orchard"], 7, crop_of)
    base = [MATERIAL[theme.soil if c[0] == "soil" else c[0]] for c in CROPS]
    other = [MATERIAL[theme.soil if c[1] == "soil" else c[1]] for c in CROPS]
    base.append(MATERIAL["grass_fresh" if theme.arid < 0.3 else theme.soil])
    other.append(MATERIAL["grass_dry"])
    low = np.array([c[2] for c in CROPS] + [0.1], np.float32)[crop_of]
    high = np.array([c[3] for c in CROPS] + [0.5], np.float32)[crop_of]
    contrast = np.array([c[5] for c in CROPS] + [0.03], np.float32)[crop_of]
    mix = low + (high - low) * stage + np.float32(0.22) * patch * (np.float32(0.4) + stage)
    mix += streak * contrast * np.float32(1.6) + lines * np.float32(0.16)
    tone = np.float32(1.0) + tint + streak * contrast * np.float32(1.5)
    tone += np.float32(0.035) * mottle + np.float32(0.03) * wiggle - np.float32(0.07) * lines
    canvas.base[rows] = np.where(used, np.array(base, np.uint8)[crop_of], canvas.base[rows])
    canvas.other[rows] = np.where(used, np.array(other, np.uint8)[crop_of], canvas.other[rows])
    canvas.mix[rows] = np.where(used, share(mix), canvas.mix[rows])
    canvas.tone[rows] = np.where(used, tone, canvas.tone[rows])
    meadow = label == CLASS["grassland"]
    mown = np.float32(1.0) + np.float32(0.8) * tint + np.float32(0.10) * streak
    canvas.tone[rows] = np.where(meadow, canvas.tone[rows] * mown, canvas.tone[rows])
    _orchard(canvas, frame, rows, label == CLASS["orchard"], parcels)
    _borders(canvas, frame, theme, land, rows, parcels, forest)


def _orchard(
    canvas: Canvas, frame: Frame, rows: slice, orchard: NDArray[np.bool_], parcels: Parcels
) -> None:
    """Trees on a grid of 6 m x 5 m; beyond 3 m pixels only their mean remains."""
    if frame.gsd > 3.0:
        canvas.other[rows] = np.where(orchard, MATERIAL["broadleaf"], canvas.other[rows])
        canvas.mix[rows] = np.where(orchard, 120, canvas.mix[rows])
        return
    p, q = parcels.u * np.float32(1 / 5.2), parcels.v * np.float32(1 / 6.4)
    dy = (q - np.floor(q) - np.float32(0.5)) * np.float32(6.4)
    dx = (p - np.floor(p) - np.float32(0.5)) * np.float32(5.2)
    dome = np.float32(1.0) - (dy * dy + dx * dx) * np.float32(1 / 5.0)
    tree = orchard & (dome > 0) & (parcels.edge > np.float32(2.5))
    canvas.base[rows] = np.where(tree, MATERIAL["broadleaf"], canvas.base[rows])
    canvas.mix[rows] = np.where(tree, 0, canvas.mix[rows])
    lit = np.float32(0.85) + np.float32(0.3) * dome
    canvas.tone[rows] = np.where(tree, canvas.tone[rows] * lit, canvas.tone[rows])
    canvas.tall[rows] = np.where(
        tree, (dome * np.float32(18.0)).astype(np.uint8), canvas.tall[rows]
    )


def _borders(
    canvas: Canvas,
    frame: Frame,
    theme: Theme,
    land: Land,
    rows: slice,
    parcels: Parcels,
    forest: NDArray[np.bool_],
) -> None:
    """Grass margins, hedges and field tracks between the parcels."""
    label = canvas.label[rows]
    farm = ~forest & (
        (label == CLASS["cropland"]) | (label == CLASS["orchard"]) | (label == CLASS["bare"])
    )
    hedge = land.mosaic.draw(parcels.key, 6) < np.float32(theme.hedges)
    hedge &= parcels.edge < np.float32(3.2) + np.float32(0.8) * land.wiggle[rows]
    hedge &= farm & (frame.gsd < 8.0)
    if frame.gsd < 3.0:
        margin = farm & (parcels.edge < np.float32(1.3))
        canvas.paint(
            (rows.start + margin.nonzero()[0], margin.nonzero()[1]),
            "grassland",
            "grass_fresh",
            "grass_dry",
            mix=0.3 + 0.5 * theme.arid,
        )
    if hedge.any():
        at = hedge.nonzero()
        canvas.paint((rows.start + at[0], at[1]), "forest", "broadleaf", trees=250)
    if frame.gsd < 5.0:
        track = ~forest & (parcels.outer < np.float32(max(1.7, 0.5 * frame.gsd)))
        at = track.nonzero()
        canvas.paint((rows.start + at[0], at[1]), "road", "dirt", "grass_dry", mix=0.2)


def _wet(canvas: Canvas, theme: Theme, land: Land, rows: slice, near: F32) -> None:
    mottle, wiggle = land.mottle[rows], land.wiggle[rows]
    reach = np.float32(theme.wetland) * (np.float32(0.55) + np.float32(0.5) * wiggle)
    wet = (near < reach) & ~land.water[rows]
    at = wet.nonzero()
    if not at[0].size:
        return
    pool = np.float32(0.35) + np.float32(0.3) * mottle[at] + np.float32(0.2) * wiggle[at]
    canvas.paint(
        (rows.start + at[0], at[1]),
        "wetland",
        "reed",
        "marsh",
        mix=pool,
        tone=np.float32(1.0) + np.float32(0.09) * mottle[at],
        trees=np.clip(12.0 - 30.0 * wiggle[at], 0, 70).astype(np.uint8),
    )


def _beach(canvas: Canvas, land: Land, rows: slice, shore: F32) -> None:
    wiggle, mottle = land.wiggle[rows], land.mottle[rows]
    beach = (shore >= 0) & (shore < np.float32(1.1) + np.float32(0.25) * wiggle)
    at = beach.nonzero()
    wet = np.float32(1.0) - shore[at] * np.float32(2.2)
    canvas.paint(
        (rows.start + at[0], at[1]),
        "bare",
        "sand",
        "wet_sand",
        mix=wet,
        tone=np.float32(1.0) + np.float32(0.04) * mottle[at],
    )


def _water(canvas: Canvas, theme: Theme, land: Land, rows: slice, depth: F32) -> None:
    at = land.water[rows].nonzero()
    mottle, wiggle = land.mottle[rows][at], land.wiggle[rows][at]
    deep = smoothstep(depth[at] + np.float32(0.3) * wiggle, -0.2, 7.0 if theme.sea else 2.4)
    if theme.sea:
        shallow, deeper = "water_shallow", "water_deep"
    elif theme.lakes > 0.1:
        shallow, deeper = "water_shallow", "water_bog"
    else:
        shallow, deeper = "water_silt", "water_deep"
        deep = deep * np.float32(0.6)
    canvas.paint(
        (rows.start + at[0], at[1]),
        "water",
        shallow,
        deeper,
        mix=np.float32(0.25) + np.float32(0.75) * deep,
        tone=np.float32(1.0) + np.float32(0.025) * mottle,
    )


__all__ = ["ROWS", "TABLE", "Land", "paint"]
