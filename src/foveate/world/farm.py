"""Farmland: crops and their rows, orchards, hedges, margins and field tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.world.canvas import CLASS, Site, share
from foveate.world.noise import lookup, triangle
from foveate.world.spectra import MATERIAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.world.cover import Land
    from foveate.world.parcels import Parcels

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


def till(site: Site, land: Land, rows: slice, parcels: Parcels) -> None:
    """Paint the parcels that `Canvas.label` calls cropland, orchard or grassland.

    Args:
        site: The scene.
        land: Fields of the land.
        rows: Rows of the image to paint.
        parcels: Where the pixels of these rows lie in their parcels.
    """
    canvas, frame, theme = site.canvas, site.frame, site.theme
    mosaic, mottle, wiggle = land.mosaic, land.mottle[rows], land.wiggle[rows]
    label = canvas.label[rows]
    forest = label == CLASS["forest"]
    used = (label == CLASS["cropland"]) | (label == CLASS["orchard"])
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
    fallow = mosaic.draw(parcels.key, 1) > np.float32(1.0 - theme.crops[3] / sum(theme.crops))
    crop_of = np.where(fallow, 6, crop_of)
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
    _orchard(site, rows, label == CLASS["orchard"], parcels)
    _borders(site, land, rows, parcels, forest)


def _orchard(site: Site, rows: slice, orchard: NDArray[np.bool_], parcels: Parcels) -> None:
    """Trees on a grid of 6 m x 5 m; beyond 3 m pixels only their mean remains."""
    canvas, frame = site.canvas, site.frame
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
    site: Site, land: Land, rows: slice, parcels: Parcels, forest: NDArray[np.bool_]
) -> None:
    """Grass margins, hedges and field tracks between the parcels."""
    canvas, frame, theme = site.canvas, site.frame, site.theme
    label = canvas.label[rows]
    farm = ~forest & ((label == CLASS["cropland"]) | (label == CLASS["orchard"]))
    hedge = land.mosaic.draw(parcels.key, 6) < np.float32(theme.hedges)
    hedge &= parcels.edge < np.float32(3.2) + np.float32(0.8) * land.wiggle[rows]
    hedge &= farm & (frame.gsd < 8.0)
    if frame.gsd < 3.0:
        margin = farm & (parcels.edge < np.float32(1.3))
        canvas.part(rows).paint(
            margin, "grassland", "grass_fresh", "grass_dry", mix=0.3 + 0.5 * theme.arid
        )
    if hedge.any():
        at = hedge.nonzero()
        canvas.part(rows).paint(at, "forest", "broadleaf", trees=250)
    if frame.gsd < 5.0:
        track = ~forest & (parcels.outer < np.float32(max(1.7, 0.5 * frame.gsd)))
        at = track.nonzero()
        canvas.part(rows).paint(at, "road", "dirt", "grass_dry", mix=0.2)
