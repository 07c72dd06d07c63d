"""Tree crowns of forests, hedges and gardens, at the resolution of the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter

from foveate.world.canvas import CLASS, TALL_UNIT, Canvas, Site
from foveate.world.cover import ROWS
from foveate.world.noise import lookup, table
from foveate.world.spectra import MATERIAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.world.light import Sun
    from foveate.world.terrain import Frame

type F32 = NDArray[np.float32]

SPACING = 6.2  # metres between trunks
COARSEST = 3.0  # metres per pixel beyond which crowns are not drawn one by one


def grow(site: Site) -> None:
    """Draw the trees of `Canvas.trees`."""
    canvas, frame = site.canvas, site.frame
    tables = tuple(table(frame.rng(f"trees/{k}")) for k in range(4))
    y, x = frame.axes()
    if frame.gsd > COARSEST:
        _mean(canvas, frame)
        return
    reach = 2 * int(np.ceil(SPACING / frame.gsd)) + 1
    density = canvas.trees.copy()
    woods = canvas.label == CLASS["forest"]
    conifer = canvas.conifer
    for top in range(0, frame.shape[0], ROWS):
        rows = slice(top, min(top + ROWS, frame.shape[0]))
        lo, hi = max(0, top - reach), min(frame.shape[0], rows.stop + reach)
        near = maximum_filter(density[lo:hi], size=reach)[top - lo : rows.stop - lo] > 0
        r, c = near.nonzero()
        if not r.size:
            continue
        r = r + top
        crown = _crowns(frame, (y[r], x[c]), (density, conifer, woods), tables)
        _leaf(canvas, (r, c), crown, site.sun)


def _crowns(
    frame: Frame,
    at: tuple[F32, F32],
    layers: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]],
    tables: tuple[F32, ...],
) -> tuple[NDArray, ...]:
    """Highest crown over each position: dome, offset from its trunk, colour, kind, place."""
    (y, x), (density, conifer, woods) = at, layers
    inv = np.float32(1 / SPACING)
    sy, sx = y * inv, x * inv
    cy, cx = np.floor(sy).astype(np.int32), np.floor(sx).astype(np.int32)
    best = np.zeros(y.shape, np.float32)
    oy, ox, tint = np.zeros_like(best), np.zeros_like(best), np.zeros_like(best)
    needle, wood = np.zeros(y.shape, bool), np.zeros(y.shape, bool)
    h, w = frame.shape
    scale, top, left = (
        np.float32(SPACING / frame.gsd),
        np.float32(frame.y0 / frame.gsd),
        np.float32(frame.x0 / frame.gsd),
    )
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            i, j = cy + np.int32(di), cx + np.int32(dj)
            ty, tx = i + lookup(tables[0], i, j), j + lookup(tables[1], i, j)
            dy, dx = sy - ty, sx - tx
            size = lookup(tables[2], i, j)
            radius = np.float32(0.46) + np.float32(0.36) * size
            dome = np.float32(1.0) - (dy * dy + dx * dx) / (radius * radius)
            high = dome * (np.float32(0.55) + np.float32(0.45) * size)
            k = (high > best).nonzero()[0]
            if not k.size:
                continue
            row = np.floor(ty[k] * scale - top).astype(np.int32)
            col = np.floor(tx[k] * scale - left).astype(np.int32)
            np.clip(row, 0, h - 1, out=row)
            np.clip(col, 0, w - 1, out=col)
            ik, jk = i[k], j[k]
            dice = lookup(tables[3], ik, jk)
            there = dice * np.float32(255.0) < density[row, col]
            k, row, col, ik, jk = k[there], row[there], col[there], ik[there], jk[there]
            best[k] = high[k]
            oy[k], ox[k] = dy[k] / radius[k], dx[k] / radius[k]
            tint[k] = lookup(tables[0], ik + np.int32(77), jk)
            share = lookup(tables[1], ik + np.int32(91), jk) * np.float32(255.0)
            needle[k] = share < conifer[row, col]
            wood[k] = woods[row, col]
    return best, oy, ox, tint, needle, wood


def _leaf(
    canvas: Canvas,
    at: tuple[NDArray[np.intp], NDArray[np.intp]],
    crown: tuple[NDArray, ...],
    light: Sun,
) -> None:
    best, oy, ox, tint, needle, wood = crown
    label = canvas.label[at]
    # Crowns do not cover pixels that must keep their exact label.
    open_sky = (label != CLASS["building"]) & (label != CLASS["road"]) & (label != CLASS["water"])
    gap = open_sky & (best <= 0) & (label == CLASS["forest"])
    where = (at[0][gap], at[1][gap])
    canvas.base[where] = MATERIAL["understorey"]
    canvas.other[where] = MATERIAL["grass_fresh"]
    canvas.mix[where] = 60
    tree = open_sky & (best > 0)
    where = (at[0][tree], at[1][tree])
    side = oy[tree] * np.float32(light.south) + ox[tree] * np.float32(light.east)
    tone = np.float32(0.84) + np.float32(0.26) * best[tree] + np.float32(0.24) * side
    tone *= np.float32(0.86) + np.float32(0.28) * tint[tree]
    forest = label[tree] == CLASS["forest"]
    canvas.tone[where] = np.where(forest, canvas.tone[where], 0.95) * tone
    canvas.base[where] = np.where(needle[tree], MATERIAL["conifer"], MATERIAL["broadleaf"])
    canvas.other[where] = MATERIAL["grass_fresh"]
    canvas.mix[where] = (tint[tree] * np.float32(70.0)).astype(np.uint8)
    height = np.where(needle[tree], np.float32(13.0), np.float32(10.0)) * (
        np.float32(0.35) + np.float32(0.65) * best[tree]
    )
    canvas.tall[where] = (height * np.float32(1 / TALL_UNIT)).astype(np.uint8)
    grown = wood[tree] & ~forest
    canvas.label[where[0][grown], where[1][grown]] = CLASS["forest"]


def _mean(canvas: Canvas, frame: Frame) -> None:
    """Draw tree density for coarse pixels, with gaps at low density."""
    dice = frame.rng("trees/coarse").random(frame.shape, dtype=np.float32)
    sparse = (canvas.trees > 0) & (canvas.label != CLASS["forest"])
    share = canvas.trees * np.float32(1 / 255.0) * (np.float32(0.6) + np.float32(0.8) * dice)
    canvas.other[sparse] = MATERIAL["broadleaf"]
    canvas.mix[sparse] = (np.clip(share[sparse], 0, 1) * np.float32(255)).astype(np.uint8)
    forest = canvas.label == CLASS["forest"]
    canvas.tone[forest] *= (np.float32(0.78) + np.float32(0.16) * dice)[forest]
