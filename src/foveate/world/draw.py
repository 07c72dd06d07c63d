"""Drawing functions of the rare object kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.world.canvas import CLASS, TALL_UNIT, Canvas, Site
from foveate.world.noise import direction
from foveate.world.spectra import MATERIAL
from foveate.world.splat import Boxes, Stamp, stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

type F32 = NDArray[np.float32]
type Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True)
class Pose:
    """Position and drawn size of an object in metres.

    Attributes:
        y: Centre.
        x: Centre.
        cos: Cosine of the direction of the long side.
        sin: Sine of it.
        length: Drawn length, at least one and a half pixels.
        width: Drawn width, at least one and a half pixels.
        dilution: True area relative to the drawn area, 1 for objects larger than pixels.
    """

    y: float
    x: float
    cos: float
    sin: float
    length: float
    width: float
    dilution: float

    def boxes(self, margin: float = 0.0) -> Boxes:
        """Return the rectangle, grown by `margin` metres on all sides."""
        return _box(
            self.y, self.x, (self.cos, self.sin), self.length + 2 * margin, self.width + 2 * margin
        )


def _set(
    canvas: Canvas,
    at: Pixels,
    base: str | NDArray,
    look: tuple[NDArray | float, float] = (1.0, 0.0),
    dilution: float = 1.0,
) -> None:
    """Paint pixels with tone and height (m); with a `dilution` below 1 blend with the ground."""
    tone, tall = look
    if dilution < 1.0:
        canvas.other[at] = canvas.base[at]
        canvas.mix[at] = round(255 * (1.0 - dilution))
    else:
        canvas.mix[at] = 0
    canvas.base[at] = MATERIAL[base] if isinstance(base, str) else base
    canvas.tone[at] = tone
    canvas.tall[at] = round(tall / TALL_UNIT)
    canvas.trees[at] = 0


def _part(around: Stamp, inside: NDArray[np.bool_]) -> tuple[Pixels, F32, F32]:
    return (around.at[0][inside], around.at[1][inside]), around.u[inside], around.v[inside]


def _rectangle(around: Stamp, pose: Pose) -> tuple[Pixels, F32, F32]:
    """Return the pixels of the footprint."""
    half = pose.length / 2, pose.width / 2
    return _part(around, (np.abs(around.u) <= half[0]) & (np.abs(around.v) <= half[1]))


def _cycle(along: F32, period: float) -> F32:
    """Return the phase of positions in their period, 0 to 1."""
    count = along / np.float32(period)
    return count - np.floor(count)


def _clear(canvas: Canvas, around: Stamp, base: str, cover: str, mix: float = 0.0) -> None:
    """Prepare the ground around an object."""
    canvas.paint(around.at, cover, base, "grass_fresh", mix=mix)


def boat(site: Site, pose: Pose, around: Stamp) -> Pixels:
    """White hull with a pointed bow, a dark cockpit, and a wake if it is moving."""
    canvas, gsd = site.canvas, site.frame.gsd
    u, v = around.u / np.float32(pose.length / 2), around.v / np.float32(pose.width / 2)
    taper = np.clip((np.float32(1.0) - u) * np.float32(1.6), 0.0, 1.0)
    at, pu, pv = _part(around, (np.abs(u) <= 1) & (np.abs(v) <= np.maximum(taper, 0.25)))
    if pose.dilution >= 1.0:
        deck = (pu < 0) & (pu > -0.6 * pose.length / 2) & (np.abs(pv) < 0.55 * pose.width / 2)
        tone = np.where(deck, np.float32(0.45), np.float32(0.9))
    else:
        tone = 0.9
    if pose.length > 12.5 and gsd <= 3.0:
        _wake(site, pose)
    _set(canvas, at, "white", (tone, 1.6), max(pose.dilution, 0.45))
    return at


def _wake(site: Site, pose: Pose) -> None:
    """Two diverging lines of foam and a bright trail, fading astern."""
    canvas, frame = site.canvas, site.frame
    span = 4.5 * pose.length
    back = -(pose.length / 2 + span / 2 - 1.0)
    stern = (pose.y + back * pose.sin, pose.x + back * pose.cos)
    box = _box(*stern, (pose.cos, pose.sin), span, 0.9 * pose.length)
    for part in stamp(frame, box):
        far = np.float32(0.5) - part.u / np.float32(span)
        wide = np.float32(1.2) + far * np.float32(0.26 * pose.length)
        foam = np.clip(np.float32(1.0) - np.abs(np.abs(part.v) - wide) / np.float32(1.4), 0, 1)
        foam = np.maximum(foam, np.where(np.abs(part.v) < 1.4, 1.0 - 1.3 * far, 0.0))
        foam = foam * (np.float32(1.0) - far) * np.float32(0.55)
        seen = (foam > 0.02) & (canvas.label[part.at] == CLASS["water"])
        seen &= canvas.base[part.at] != MATERIAL["white"]
        at = (part.at[0][seen], part.at[1][seen])
        # Water is a mixture already; brightening it keeps the mixture.
        canvas.tone[at] = 1.0 + 2.6 * foam[seen]


def _box(y: float, x: float, along: tuple[float, float], length: float, width: float) -> Boxes:
    return Boxes(*(np.array([a], np.float32) for a in (y, x, *along, length, width)))


def storage_tank(site: Site, pose: Pose, around: Stamp) -> Pixels:
    """White cylinder with a darker seam, on a gravel pad."""
    canvas = site.canvas
    _clear(canvas, around, "gravel", "bare")
    r = np.sqrt(around.u**2 + around.v**2) / np.float32(pose.length / 2)
    at, _, _ = _part(around, r <= 1)
    seam = (r[r <= 1] > 1 - 1.6 / pose.length) | (r[r <= 1] < 1.4 / pose.length)
    tone = np.where(seam, np.float32(0.66), np.float32(0.92))
    _set(canvas, at, "white", (tone, min(14.0, 0.55 * pose.length)), pose.dilution)
    return at


def greenhouse(site: Site, pose: Pose, around: Stamp) -> Pixels:
    """Spans of glass, one bright and one dull slope each."""
    canvas, gsd = site.canvas, site.frame.gsd
    _clear(canvas, around, "dirt", "bare", 0.3)
    at, _, v = _rectangle(around, pose)
    tone = np.where(_cycle(v, 6.4) < 0.5, np.float32(1.14), np.float32(0.82)) if gsd <= 3 else 1.0
    _set(canvas, at, "glass", (tone, 4.2), pose.dilution)
    return at


def pool(site: Site, pose: Pose, around: Stamp) -> Pixels:
    """Turquoise water in a pale rim."""
    canvas = site.canvas
    if pose.dilution >= 1.0:
        canvas.paint(around.at, "settlement", "concrete")
    at, _, _ = _rectangle(around, pose)
    _set(canvas, at, "pool", (1.0, 0.0), pose.dilution)
    return at


def solar_park(site: Site, pose: Pose, around: Stamp) -> Pixels:
    """Rows of dark panels with grass between them."""
    canvas, gsd = site.canvas, site.frame.gsd
    _clear(canvas, around, "grass_dry", "grassland", 0.5)
    at, u, v = _rectangle(around, pose)
    row, bay = _cycle(v, 8.0), _cycle(u, 34.0) * np.float32(34.0)
    _set(canvas, at, "panel")
    if gsd > 4.0:
        canvas.other[at] = MATERIAL["grass_dry"]
        canvas.mix[at] = 95
        return at
    grass = (row > 0.62) | (bay < 2.2)
    gap = (at[0][grass], at[1][grass])
    canvas.base[gap] = MATERIAL["grass_dry"]
    canvas.other[gap], canvas.mix[gap] = MATERIAL["grass_fresh"], 120
    canvas.tone[gap] = 0.9
    panel = (at[0][~grass], at[1][~grass])
    canvas.tall[panel] = 11
    canvas.tone[panel] = 0.9 + 0.35 * row[~grass]
    return at


def sports_ground(site: Site, pose: Pose, around: Stamp) -> Pixels:
    """A striped pitch inside a red running track."""
    canvas, gsd = site.canvas, site.frame.gsd
    u, v = around.u, around.v
    half = pose.width / 2
    straight = max(pose.length / 2 - half, 0.0)
    past = np.clip(np.abs(u) - np.float32(straight), 0.0, None)
    r = np.sqrt(past * past + v * v)
    at, pu, pv = _part(around, r <= half)
    inner = r[r <= half] < half - 9.0
    pitch = inner & (np.abs(pu) < 52.5) & (np.abs(pv) < half - 11.0)
    stripe = np.floor(pu / np.float32(6.5)).astype(np.int32) & 1
    base = np.where(inner, MATERIAL["turf"], MATERIAL["track_red"]).astype(np.uint8)
    tone = np.where(pitch, 0.94 + 0.14 * stripe, 1.0)
    if gsd <= 1.0:
        # Lanes, and the lines of the pitch.
        lane = ~inner & (np.abs((r[r <= half] - half) / 1.22 % 1.0) < 0.16)
        line = pitch & ((np.abs(pu) < 0.3) | (np.abs(np.sqrt(pu * pu + pv * pv) - 9.15) < 0.4))
        tone = np.where(lane, 1.3, np.where(line, 2.2, tone))
    canvas.label[at] = CLASS["settlement"]
    _set(canvas, at, base, (tone.astype(np.float32), 0.0), pose.dilution)
    return at


def pivot_field(site: Site, pose: Pose, around: Stamp) -> Pixels:
    """A round irrigated field with wheel tracks and sectors of different growth."""
    canvas, gsd = site.canvas, site.frame.gsd
    r = np.sqrt(around.u**2 + around.v**2)
    at, u, v = _part(around, r <= pose.length / 2)
    r = r[r <= pose.length / 2]
    # A sector is identified by the signs of three half planes, without arctangent.
    a, b = u > 0, u * np.float32(0.4) + v > 0
    third = a & b
    _set(canvas, at, "crop_dense")
    canvas.other[at] = np.where(third, MATERIAL["ripe"], MATERIAL["crop_young"])
    track = np.abs(r / 48.0 - np.round(r / 48.0)) * 48.0 < max(0.9, 0.4 * gsd)
    mix = np.where(third, 190, 40) + 16 * (np.floor(r / 16.0).astype(np.int32) & 1)
    canvas.mix[at] = mix.astype(np.uint8)
    canvas.tone[at] = np.where(track & (gsd < 4), 0.86, 1.0)
    arm = (np.abs(v) < max(1.2, 0.5 * gsd)) & (u < 0)
    pipe = (at[0][arm], at[1][arm])
    if gsd <= 4.0:
        canvas.base[pipe], canvas.mix[pipe], canvas.tone[pipe] = MATERIAL["gravel"], 0, 1.1
    return at


def wind_turbine(site: Site, pose: Pose, around: Stamp) -> Pixels:
    """Three white blades over a tower on a gravel pad, and the shadow of both."""
    canvas, frame, sun = site.canvas, site.frame, site.sun
    pad, _, _ = _part(around, around.u**2 + around.v**2 < np.float32(81.0))
    canvas.paint(pad, "bare", "gravel")
    blade = pose.length / 2
    reach = 0.95 * pose.length / sun.rise
    away = (-sun.east, -sun.south)
    top = (pose.y + away[1] * reach, pose.x + away[0] * reach)
    middle = ((pose.y + top[0]) / 2, (pose.x + top[1]) / 2)
    shade = np.float32(0.62 if frame.gsd <= 4.0 else 0.85)
    for part in stamp(frame, _box(*middle, away, reach, max(3.4, 0.7 * frame.gsd))):
        canvas.tone[part.at] *= shade
    rows, cols = [], []
    thick = max(3.2, 0.9 * frame.gsd)
    for k in range(3):
        turn = direction(2.0943951 * k)
        along = (
            pose.cos * turn[0] - pose.sin * turn[1],
            pose.sin * turn[0] + pose.cos * turn[1],
        )
        half = (along[1] * blade / 2, along[0] * blade / 2)
        for part in stamp(frame, _box(top[0] + half[0], top[1] + half[1], along, blade, thick)):
            canvas.tone[part.at] *= shade
        for part in stamp(frame, _box(pose.y + half[0], pose.x + half[1], along, blade, thick)):
            slim = np.abs(part.v) <= thick / 2 * (1.0 - 0.55 * (part.u / blade + 0.5))
            rows.append(part.at[0][slim])
            cols.append(part.at[1][slim])
    nacelle = (max(9.0, 1.45 * frame.gsd), max(4.0, 1.45 * frame.gsd))
    for part in stamp(frame, _box(pose.y, pose.x, (pose.cos, pose.sin), *nacelle)):
        rows.append(part.at[0])
        cols.append(part.at[1])
    at = (np.concatenate(rows), np.concatenate(cols))
    _set(canvas, at, "white", (0.95, 0.0), min(1.0, 3.1 / thick))
    return at


DRAW: dict[str, Callable[..., Pixels]] = {
    "boat": boat,
    "storage_tank": storage_tank,
    "greenhouse": greenhouse,
    "pool": pool,
    "solar_park": solar_park,
    "sports_ground": sports_ground,
    "pivot_field": pivot_field,
    "wind_turbine": wind_turbine,
}
"""Kind -> function that paints an object and returns the rows and columns of its own pixels."""
