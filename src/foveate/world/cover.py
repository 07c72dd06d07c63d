"""Natural land cover: water, shores, wetland, forest, wild grass and bare rock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.world import farm
from foveate.world.canvas import CLASS, Canvas, Site, share
from foveate.world.network import distance
from foveate.world.noise import smoothstep, table
from foveate.world.parcels import Mosaic, Parcels
from foveate.world.spectra import MATERIAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.world.themes import Theme

type F32 = NDArray[np.float32]

ROWS = 256  # rows painted at once: temporaries stay small
RIVER_REACH = 60.0  # metres up to which the distance to a river is exact


@dataclass(eq=False)
class Land:
    """Full-resolution fields shared by several painting functions.

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


def paint(site: Site, height: F32) -> Land:
    """Paint natural land cover.

    Args:
        site: The scene.
        height: (h, w) float32 metres.

    Returns:
        The fields for later painting functions.
    """
    canvas, frame, plan, theme = site.canvas, site.frame, site.plan, site.theme
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
    wood, meadow = _scores(site, land)
    y, x = frame.axes()
    for top in range(0, frame.shape[0], ROWS):
        rows = slice(top, min(top + ROWS, frame.shape[0]))
        grid = np.broadcast_arrays(x[None, :], y[rows, None])
        # Parcel borders bend a little with the land.
        bend = wiggle[rows] * np.float32(1.2) + height[rows] * np.float32(0.6)
        parcels = land.mosaic.at(grid[0] + bend, grid[1] - bend)
        _natural(site, land, rows, parcels, (wood, meadow))
        farm.till(site, land, rows, parcels)
        near = np.minimum(
            np.where(river[rows] < RIVER_REACH, river[rows], far[rows]), far[rows] + 30
        )
        _pits(site, land, rows)
        near = np.minimum(near, lake[rows] * np.float32(160.0))
        _wet(canvas, theme, land, rows, near)
        _bars(canvas, theme, land, rows)
        depth = np.maximum(-river[rows] * np.float32(0.12), -lake[rows] * np.float32(14.0))
        if shore is not None:
            depth = np.maximum(depth, -shore[rows])
            _beach(canvas, land, rows, shore[rows])
        _water(canvas, theme, land, rows, depth)
    return land


def _scores(site: Site, land: Land) -> tuple[F32, F32]:
    """Suitability for forest and for wild grassland, above 0 where they grow."""
    frame, plan, theme = site.frame, site.plan, site.theme
    extent = max(frame.domain)
    wood = frame.fractal("wood", min(max(520.0, 0.22 * extent), 3600.0), gain=0.56)
    gy, gx = np.gradient(plan.height, plan.step)
    slope = frame.resample(np.sqrt(gy * gy + gx * gx).astype(np.float32), plan.step)
    wood += np.minimum(slope, np.float32(0.5)) * np.float32(7.0)
    bank = np.clip(land.river, 0, None)
    if max((line.width.max() for line in plan.rivers), default=0.0) > 5.0:
        wood += np.float32(1.9) / (np.float32(1.0) + (bank * np.float32(1 / 14.0)) ** 2)
    dry = ~land.water[::4, ::4]
    wood -= _top(wood[::4, ::4][dry], theme.forest)
    meadow = frame.fractal("meadow", min(max(420.0, 0.15 * extent), 2400.0), gain=0.56)
    meadow += np.float32(1.6) / (np.float32(1.0) + (bank * np.float32(1 / 35.0)) ** 2)
    meadow -= _top(meadow[::4, ::4][dry], theme.wild)
    return wood, meadow


def _top(values: F32, share_of: float) -> np.float32:
    """Return the exact value exceeded by a share `share_of` of the values."""
    if values.size == 0:
        return np.float32(0.0)
    k = min(max(int((1.0 - share_of) * values.size), 0), values.size - 1)
    return np.partition(values, k)[k]


def _natural(
    site: Site, land: Land, rows: slice, parcels: Parcels, scores: tuple[F32, F32]
) -> None:
    canvas, frame, theme = site.canvas, site.frame, site.theme
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
        canvas.base[rows] = MATERIAL["soil_pale"]
        canvas.mix[rows] = share(
            np.float32(0.66) + np.float32(0.2) * wiggle + np.float32(0.1) * mottle
        )
    canvas.conifer[rows] = share(
        np.float32(theme.conifer)
        + np.float32(0.45) * wood[row, col]
        - np.float32(0.3)
        + np.float32(0.25) * wiggle
    )
    use = land.mosaic.draw(parcels.key, 1)
    farmed = ~forest & ~wild
    canvas.label[rows] = np.where(farmed, CLASS["cropland"], canvas.label[rows])
    crop, pasture, orchard, fallow = theme.crops
    total = crop + pasture + orchard + fallow
    edges = np.cumsum(np.array([crop, pasture, orchard]) / total)
    canvas.label[rows][farmed & (use >= edges[0]) & (use < edges[1])] = CLASS["grassland"]
    canvas.label[rows][farmed & (use >= edges[1]) & (use < edges[2])] = CLASS["orchard"]
    canvas.trees[rows][farmed] = 0
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


def _wet(canvas: Canvas, theme: Theme, land: Land, rows: slice, near: F32) -> None:
    mottle, wiggle = land.mottle[rows], land.wiggle[rows]
    reach = np.float32(theme.wetland) * (np.float32(0.55) + np.float32(0.5) * wiggle)
    wet = (near < reach) & ~land.water[rows]
    at = wet.nonzero()
    if not at[0].size:
        return
    pool = np.float32(0.35) + np.float32(0.3) * mottle[at] + np.float32(0.2) * wiggle[at]
    tone = np.float32(1.0) + np.float32(0.09) * mottle[at]
    trees = np.clip(12.0 - 30.0 * wiggle[at], 0, 70).astype(np.uint8)
    canvas.part(rows).paint(at, "wetland", "reed", "marsh", mix=pool, tone=tone, trees=trees)


def _bars(canvas: Canvas, theme: Theme, land: Land, rows: slice) -> None:
    """Paint gravel bars in wide rivers."""
    if max(theme.rivers, default=0.0) < 14.0:
        return
    river = land.river[rows]
    wide = np.float32(7.0) * (land.wiggle[rows] - np.float32(0.75 - 0.7 * theme.arid))
    at = ((river >= 0) & (river < wide) & ~land.water[rows]).nonzero()
    mottle = land.mottle[rows][at]
    canvas.part(rows).paint(at, "bare", "gravel", "wet_sand", mix=0.3 + 0.2 * mottle)


def _pits(site: Site, land: Land, rows: slice) -> None:
    """Quarries: benches of pale rock around a floor of rubble."""
    canvas, frame, plan, theme = site.canvas, site.frame, site.plan, site.theme
    y, x = frame.axes()
    for pit in plan.quarries:
        dy = y[rows, None] - np.float32(pit.y)
        dx = x[None, :] - np.float32(pit.x)
        if float(np.abs(dy).min()) > 1.6 * pit.radius:
            continue
        r = np.sqrt(dy * dy + dx * dx) * np.float32(1 / pit.radius)
        r += np.float32(0.10) * land.wiggle[rows] + np.float32(0.02) * land.mottle[rows]
        at = ((r < 1.0) & ~land.water[rows]).nonzero()
        if not at[0].size:
            continue
        bench = r[at] * np.float32(pit.radius / 13.0)
        bench = bench - np.floor(bench)
        # The face of a bench is lit on the side of the pit that looks at the sun (south: it is
        # the northern wall), and dark on the other.
        wall = np.where(bench > np.float32(0.72), dy[at[0], 0] * np.float32(1 / pit.radius), 0.0)
        wall = np.where(r[at] > np.float32(0.42), wall, np.float32(0.0))
        pale = "soil_pale" if theme.soil != "soil_red" else "dirt"
        canvas.part(rows).paint(
            at,
            "bare",
            "limestone",
            pale,
            mix=np.float32(0.45) + np.float32(0.25) * land.mottle[rows][at],
            tone=np.float32(0.86)
            - np.float32(0.34) * wall
            + np.float32(0.05) * land.wiggle[rows][at],
        )


def _beach(canvas: Canvas, land: Land, rows: slice, shore: F32) -> None:
    wiggle, mottle = land.wiggle[rows], land.mottle[rows]
    beach = (shore >= 0) & (shore < np.float32(1.1) + np.float32(0.25) * wiggle)
    at = beach.nonzero()
    wet = np.float32(1.0) - shore[at] * np.float32(2.2)
    tone = np.float32(1.0) + np.float32(0.04) * mottle[at]
    canvas.part(rows).paint(at, "bare", "sand", "wet_sand", mix=wet, tone=tone)


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
    canvas.part(rows).paint(
        at,
        "water",
        shallow,
        deeper,
        mix=np.float32(0.25) + np.float32(0.75) * deep,
        tone=np.float32(1.0) + np.float32(0.025) * mottle,
    )
