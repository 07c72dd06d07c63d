"""Creation of one scene of a world."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from foveate import seeds
from foveate.errors import ParameterError
from foveate.world import cover, light, objects, sensor, town, trees
from foveate.world.canvas import CLASS, Canvas, Site
from foveate.world.noise import direction
from foveate.world.spec import NODATA_LABEL, WorldScene, WorldSpec
from foveate.world.terrain import MIN_DOMAIN, Frame, plan
from foveate.world.themes import THEMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLOUD_HEIGHT = 900.0  # metres
# Locations of the worlds: EPSG code of the UTM zone and a plausible origin in it.
ZONES = ((32632, 5_300_000), (32630, 4_600_000), (32633, 5_900_000), (32634, 5_150_000))


def make_scene(spec: WorldSpec, index: int) -> WorldScene:
    """Create scene `index` of a world, with its labels and objects.

    Args:
        spec: The world.
        index: Number of the scene, from 0. It may exceed ``spec.scenes``: scenes do not depend
            on their total number.

    Returns:
        The scene.

    Raises:
        ParameterError: `index` is negative or not a whole number.
    """
    if isinstance(index, bool) or not isinstance(index, int | np.integer) or index < 0:
        raise ParameterError(f"index={index!r}", "Allowed: whole numbers from 0", "Use index=0.")
    index = int(index)
    theme = THEMES[spec.theme(index)]
    frame = _frame(spec, index)
    layout = plan(frame, theme)
    height = frame.resample(layout.height, layout.step)
    canvas, sun = Canvas(frame.shape), light.sun(frame)
    site = Site(frame, theme, layout, sun, canvas)
    land = cover.paint(site, height)
    del height
    built = town.build(site, land)
    trees.grow(site)
    valid = _acquired(frame, border=spec.has_border(index))
    # Low clouds over small scenes keep the shadow inside the scene.
    fall = min(CLOUD_HEIGHT, 0.16 * max(frame.shape) * frame.gsd) / sun.rise
    drift = (-sun.south * fall, -sun.east * fall)
    sky = sensor.clouds(frame, spec.cloud, drift)
    cloud = np.zeros(frame.shape, bool) if sky is None else (sky[0] > sensor.CLOUD_ALPHA) & valid
    free = valid & ~cloud
    found = objects.place(site, land, built, free)
    lit = light.hillshade(frame, layout, sun)
    lit[land.water] = 1.0
    dark = light.shadows(canvas.tall, frame.gsd, sun)
    lit[dark] *= np.float32(0.42)
    del land, built, dark
    image = sensor.expose(site, lit, sky, valid, spec)
    label = canvas.label
    label[cloud] = CLASS["cloud"]
    label[~valid] = NODATA_LABEL
    return WorldScene(
        scene_id=f"scene-{index:02d}",
        image=image,
        valid=valid,
        labels=label,
        cloud=cloud,
        objects=found,
        geobox=_geobox(spec, index),
        theme=spec.theme(index),
    )


def _frame(spec: WorldSpec, index: int) -> Frame:
    h, w = spec.shape
    key = f"world/{index}"
    # A long narrow scene is cut out of a domain that is not narrower than a third.
    longest = max(h, w) * spec.gsd
    tall = max(h * spec.gsd, MIN_DOMAIN, longest / 3)
    wide = max(w * spec.gsd, MIN_DOMAIN, longest / 3)
    rng = seeds.rng(spec.seed, f"{key}/window")
    y0 = float(rng.uniform(0.3, 0.7)) * (tall - h * spec.gsd)
    x0 = float(rng.uniform(0.3, 0.7)) * (wide - w * spec.gsd)
    return Frame((h, w), spec.gsd, (tall, wide), y0, x0, key, spec.seed)


def _acquired(frame: Frame, *, border: bool) -> NDArray[np.bool_]:
    """Return the valid mask: all pixels, or a frame rotated like a satellite ground track."""
    h, w = frame.shape
    if not border:
        return np.ones((h, w), bool)
    rng = frame.rng("border")
    angle = math.radians(float(rng.uniform(6.0, 14.0))) * (1 if rng.integers(2) else -1)
    cos, sin = direction(angle)
    scale = float(rng.uniform(0.99, 1.08)) / (cos + abs(sin))
    y = (np.arange(h, dtype=np.float32)[:, None] + np.float32(0.5)) - np.float32(h / 2)
    x = (np.arange(w, dtype=np.float32)[None, :] + np.float32(0.5)) - np.float32(w / 2)
    u = np.abs(x * np.float32(cos) + y * np.float32(sin))
    v = np.abs(y * np.float32(cos) - x * np.float32(sin))
    return (u < np.float32(scale * w / 2)) & (v < np.float32(scale * h / 2))


def _geobox(spec: WorldSpec, index: int) -> GeoBox:
    """Return the position of the scene in a UTM zone, on a grid of whole pixels."""
    rng = seeds.rng(spec.seed, f"world/{index}/place")
    epsg, north = ZONES[int(rng.integers(len(ZONES)))]
    column, row = int(rng.integers(0, 8)), int(rng.integers(-8, 8))
    left = 320_000.0 + column * 45_000.0
    top = north + row * 45_000.0
    left, top = (round(a / spec.gsd) * spec.gsd for a in (left, top))
    affine = Affine(spec.gsd, 0.0, left, 0.0, -spec.gsd, top)
    return GeoBox(spec.shape, affine, f"EPSG:{epsg}")
