"""Illumination: hill shading and cast shadows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.world.canvas import TALL_UNIT
from foveate.world.noise import direction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.world.terrain import Frame, Plan


@dataclass(frozen=True)
class Sun:
    """Position of the sun.

    Attributes:
        east: Horizontal unit vector towards the sun, east part.
        south: South part of it.
        rise: Tangent of the elevation.
    """

    east: float
    south: float
    rise: float


def sun(frame: Frame) -> Sun:
    """Draw the position of a mid-morning sun in the northern hemisphere."""
    rng = frame.rng("sun")
    azimuth = math.radians(float(rng.uniform(130.0, 172.0)))
    elevation = math.radians(float(rng.uniform(38.0, 54.0)))
    cos, sin = direction(azimuth)
    rise = direction(elevation)
    return Sun(east=sin, south=-cos, rise=round(rise[1] / rise[0], 9))


def hillshade(frame: Frame, plan: Plan, light: Sun) -> NDArray[np.float32]:
    """Factor on the reflectance from the slope of the land: (h, w) float32 about 1."""
    gy, gx = np.gradient(plan.height, plan.step)
    flat = light.rise / math.sqrt(1.0 + light.rise**2)
    level = 1.0 / math.sqrt(1.0 + light.rise**2)
    up = 1.0 / np.sqrt(1.0 + gy * gy + gx * gx)
    lit = (flat - level * (gx * light.east + gy * light.south)) * up / flat
    return frame.resample(np.clip(0.25 + 0.75 * lit, 0.35, 1.5).astype(np.float32), plan.step)


def shadows(tall: NDArray[np.uint8], gsd: float, light: Sun) -> NDArray[np.bool_]:
    """Compute shadows on the ground and on lower objects.

    Args:
        tall: (h, w) uint8 height above ground in units of 0.2 m.
        gsd: Metres per pixel.
        light: Position of the sun.

    Returns:
        (h, w) bool, True in shadow.
    """
    out = np.zeros(tall.shape, bool)
    top = int(tall.max())
    reach = top * TALL_UNIT / light.rise / gsd
    steps = min(math.ceil(reach), 96)
    h, w = tall.shape
    seen = (0, 0)
    for k in range(1, steps + 1):
        along = k * max(reach / steps, 1.0) if steps == 96 else float(k)
        dy, dx = round(along * light.south), round(along * light.east)
        drop = math.ceil(along * gsd * light.rise / TALL_UNIT)
        if (dy, dx) == seen or drop >= top:
            continue
        seen = (dy, dx)
        if abs(dy) >= h or abs(dx) >= w:
            break
        here = (slice(max(0, -dy), h - max(0, dy)), slice(max(0, -dx), w - max(0, dx)))
        there = (slice(max(0, dy), h + min(0, dy)), slice(max(0, dx), w + min(0, dx)))
        blocker = tall[there]
        # uint8: the blocker must exceed this height by more than the rise of the ray.
        risen = np.where(blocker > drop, blocker - np.uint8(min(drop, 255)), np.uint8(0))
        out[here] |= risen > tall[here]
    return out
