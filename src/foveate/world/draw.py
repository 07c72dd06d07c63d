"""How each kind of rare object looks from above."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.world.canvas import CLASS, TALL_UNIT, Canvas
from foveate.world.noise import direction
from foveate.world.spectra import MATERIAL
from foveate.world.splat import Boxes, Stamp, stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from foveate.world.light import Sun
    from foveate.world.terrain import Frame

type F32 = NDArray[np.float32]
type Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]
type Size = tuple[float, float]


def _set(
    canvas: Canvas,
    at: Pixels,
    base: str | NDArray,
    tone: NDArray | float = 1.0,
    tall: NDArray | float = 0.0,
    dilution: float = 1.0,
) -> None:
    """Paint pixels; with `dilution` below 1 what was there shines through."""
    if dilution < 1.0:
        canvas.other[at] = canvas.base[at]
        canvas.mix[at] = round(255 * (1.0 - dilution))
    else:
        canvas.mix[at] = 0
    canvas.base[at] = MATERIAL[base] if isinstance(base, str) else base
    canvas.tone[at] = tone
    canvas.tall[at] = np.asarray(np.asarray(tall) / TALL_UNIT).astype(np.uint8)
    canvas.trees[at] = 0


def _part(around: Stamp, inside: NDArray[np.bool_]) -> tuple[Pixels, F32, F32]:
    return (around.at[0][inside], around.at[1][inside]), around.u[inside], around.v[inside]


def _clear(canvas: Canvas, around: Stamp, base: str, cover: str, mix: float = 0.0) -> None:
    """Prepare the ground around an object."""
    canvas.paint(around.at, cover, base, "grass_fresh", mix=mix)


def boat(
    canvas: Canvas, frame: Frame, around: Stamp, size: Size, grown: Size, dilution: float, _: Sun
) -> Pixels:
    """White hull with a pointed bow, a dark cockpit, and a wake when it is under way."""
    u, v = around.u / np.float32(grown[0] / 2), around.v / np.float32(grown[1] / 2)
    taper = np.clip((np.float32(1.0) - u) * np.float32(1.6), 0.0, 1.0)
    at, pu, pv = _part(around, (np.abs(u) <= 1) & (np.abs(v) <= np.maximum(taper, 0.25)))
    if dilution >= 1.0:
        deck = (pu < 0) & (pu > -0.6 * grown[0] / 2) & (np.abs(pv) < 0.55 * grown[1] / 2)
        tone = np.where(deck, np.float32(0.45), np.float32(0.9))
    else:
        tone = np.float32(0.9)
    if size[0] > 12.5 and frame.gsd <= 3.0:
        _wake(canvas, frame, around, size)
    _set(canvas, at, "white", tone, 1.6, max(dilution, 0.45))
    return at


def _wake(canvas: Canvas, frame: Frame, around: Stamp, size: Size) -> None:
    # The frame of the stamp: its first pixel gives position and direction.
    y, x, cos, sin = _pose(frame, around)
    span = 4.5 * size[0]
    back = -(size[0] / 2 + span / 2 - 1.0)
    box = _box(y + back * sin, x + back * cos, cos, sin, span, 0.9 * size[0])
    for part in stamp(frame, box):
        far = np.float32(0.5) - part.u / np.float32(span)
        wide = np.float32(1.2) + far * np.float32(0.26 * size[0])
        foam = np.clip(np.float32(1.0) - np.abs(np.abs(part.v) - wide) / np.float32(1.4), 0, 1)
        foam = np.maximum(foam, np.where(np.abs(part.v) < 1.4, 1.0 - 1.3 * far, 0.0))
        foam = foam * (np.float32(1.0) - far) * np.float32(0.55)
        seen = (foam > 0.02) & (canvas.label[part.at] == CLASS["water"])
        seen &= canvas.base[part.at] != MATERIAL["white"]
        at = (part.at[0][seen], part.at[1][seen])
        # Water is a mixture already; brightening it keeps the mixture.
        canvas.tone[at] = 1.0 + 2.6 * foam[seen]


def _pose(frame: Frame, around: Stamp) -> tuple[float, float, float, float]:
    """Centre and direction of a stamp, from two of its pixels."""
    k = int(np.argmax(around.u**2 + around.v**2))
    row, col = int(around.at[0][k]), int(around.at[1][k])
    m = int(np.argmin(around.u**2 + around.v**2))
    du, dv = float(around.u[k] - around.u[m]), float(around.v[k] - around.v[m])
    dx = (col - int(around.at[1][m])) * frame.gsd
    dy = (row - int(around.at[0][m])) * frame.gsd
    norm = max(du * du + dv * dv, 1e-9)
    cos, sin = (dx * du + dy * dv) / norm, (dy * du - dx * dv) / norm
    cu, cv = float(around.u[m]), float(around.v[m])
    y = (int(around.at[0][m]) + 0.5) * frame.gsd + frame.y0 - (cu * sin + cv * cos)
    x = (int(around.at[1][m]) + 0.5) * frame.gsd + frame.x0 - (cu * cos - cv * sin)
    return y, x, cos, sin


def _box(y: float, x: float, cos: float, sin: float, length: float, width: float) -> Boxes:
    return Boxes(*(np.array([a], np.float32) for a in (y, x, cos, sin, length, width)))


def storage_tank(
    canvas: Canvas,
    frame: Frame,
    around: Stamp,
    size: Size,
    grown: Size,
    dilution: float,
    light: Sun,
) -> Pixels:
    """White cylinder with a darker seam, on a gravel pad."""
    _clear(canvas, around, "gravel", "bare" if dilution == 1.0 else "bare")
    r = np.sqrt(around.u**2 + around.v**2) / np.float32(grown[0] / 2)
    at, _, _ = _part(around, r <= 1)
    seam = (r[r <= 1] > 1 - 1.6 / size[0]) | (r[r <= 1] < 1.4 / size[0])
    tone = np.where(seam, np.float32(0.66), np.float32(0.92))
    _set(canvas, at, "white", tone, min(14.0, 0.55 * size[0]), dilution)
    return at


def greenhouse(
    canvas: Canvas,
    frame: Frame,
    around: Stamp,
    size: Size,
    grown: Size,
    dilution: float,
    light: Sun,
) -> Pixels:
    """Spans of glass, one bright and one dull slope each."""
    _clear(canvas, around, "dirt", "bare", 0.3)
    at, _, v = _part(
        around, (np.abs(around.u) <= grown[0] / 2) & (np.abs(around.v) <= grown[1] / 2)
    )
    span = v / np.float32(6.4)
    side = (span - np.floor(span)) < 0.5
    tone = np.where(side, np.float32(1.14), np.float32(0.82)) if frame.gsd <= 3 else np.float32(1.0)
    _set(canvas, at, "glass", tone, 4.2, dilution)
    return at


def pool(
    canvas: Canvas,
    frame: Frame,
    around: Stamp,
    size: Size,
    grown: Size,
    dilution: float,
    light: Sun,
) -> Pixels:
    """Turquoise water in a pale rim."""
    if dilution >= 1.0:
        canvas.paint(around.at, "settlement", "concrete")
    at, _, _ = _part(
        around, (np.abs(around.u) <= grown[0] / 2) & (np.abs(around.v) <= grown[1] / 2)
    )
    _set(canvas, at, "pool", 1.0, 0.0, dilution)
    return at


def solar_park(
    canvas: Canvas,
    frame: Frame,
    around: Stamp,
    size: Size,
    grown: Size,
    dilution: float,
    light: Sun,
) -> Pixels:
    """Rows of dark panels with grass between them."""
    _clear(canvas, around, "grass_dry", "grassland", 0.5)
    at, u, v = _part(
        around, (np.abs(around.u) <= grown[0] / 2) & (np.abs(around.v) <= grown[1] / 2)
    )
    row = v / np.float32(8.0)
    row = row - np.floor(row)
    bay = u / np.float32(34.0)
    bay = (bay - np.floor(bay)) * np.float32(34.0)
    _set(canvas, at, "panel", 1.0, 0.0)
    if frame.gsd > 4.0:
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


def sports_ground(
    canvas: Canvas,
    frame: Frame,
    around: Stamp,
    size: Size,
    grown: Size,
    dilution: float,
    light: Sun,
) -> Pixels:
    """A striped pitch inside a red running track."""
    u, v = around.u, around.v
    half = grown[1] / 2
    straight = max(grown[0] / 2 - half, 0.0)
    past = np.clip(np.abs(u) - np.float32(straight), 0.0, None)
    r = np.sqrt(past * past + v * v)
    at, pu, pv = _part(around, r <= half)
    inner = r[r <= half] < half - 9.0
    pitch = inner & (np.abs(pu) < 52.5) & (np.abs(pv) < half - 11.0)
    stripe = np.floor(pu / np.float32(6.5)).astype(np.int32) & 1
    base = np.where(inner, MATERIAL["turf"], MATERIAL["track_red"]).astype(np.uint8)
    tone = np.where(pitch, 0.94 + 0.14 * stripe, 1.0)
    if frame.gsd <= 1.0:
        # Lanes, and the lines of the pitch.
        lane = ~inner & (np.abs((r[r <= half] - half) / 1.22 % 1.0) < 0.16)
        line = pitch & ((np.abs(pu) < 0.3) | (np.abs(np.sqrt(pu * pu + pv * pv) - 9.15) < 0.4))
        tone = np.where(lane, 1.3, np.where(line, 2.2, tone))
    canvas.label[at] = CLASS["settlement"]
    _set(canvas, at, base, tone.astype(np.float32), 0.0, dilution)
    return at


def pivot_field(
    canvas: Canvas,
    frame: Frame,
    around: Stamp,
    size: Size,
    grown: Size,
    dilution: float,
    light: Sun,
) -> Pixels:
    """A round irrigated field with wheel tracks and sectors of different growth."""
    r = np.sqrt(around.u**2 + around.v**2)
    at, u, v = _part(around, r <= grown[0] / 2)
    r = r[r <= grown[0] / 2]
    # A sector is told by the signs of three half planes: no arctangent needed.
    a, b = u > 0, u * np.float32(0.4) + v > 0
    third = a & b
    _set(canvas, at, "crop_dense", 1.0, 0.0)
    canvas.other[at] = np.where(third, MATERIAL["ripe"], MATERIAL["crop_young"])
    track = np.abs(r / 48.0 - np.round(r / 48.0)) * 48.0 < max(0.9, 0.4 * frame.gsd)
    mix = np.where(third, 190, 40) + 16 * (np.floor(r / 16.0).astype(np.int32) & 1)
    canvas.mix[at] = mix.astype(np.uint8)
    canvas.tone[at] = np.where(track & (frame.gsd < 4), 0.86, 1.0)
    arm = (np.abs(v) < max(1.2, 0.5 * frame.gsd)) & (u < 0)
    pipe = (at[0][arm], at[1][arm])
    if frame.gsd <= 4.0:
        canvas.base[pipe], canvas.mix[pipe], canvas.tone[pipe] = MATERIAL["gravel"], 0, 1.1
    return at


def wind_turbine(
    canvas: Canvas,
    frame: Frame,
    around: Stamp,
    size: Size,
    grown: Size,
    dilution: float,
    light: Sun,
) -> Pixels:
    """Three white blades over a tower on a gravel pad, and the shadow of both."""
    y, x, cos, sin = _pose(frame, around)
    r = np.sqrt(around.u**2 + around.v**2)
    pad, _, _ = _part(around, r < 9.0)
    canvas.paint(pad, "bare", "gravel")
    hub, blade = 0.95 * size[0], size[0] / 2
    reach = hub / light.rise
    away = (-light.east, -light.south)
    tower = _box(
        y + away[1] * reach / 2, x + away[0] * reach / 2, *away, reach, max(3.4, 0.7 * frame.gsd)
    )
    shade = 0.62 if frame.gsd <= 4.0 else 0.85
    for part in stamp(frame, tower):
        canvas.tone[part.at] *= shade
    top = (y + away[1] * reach, x + away[0] * reach)
    rows, cols = [], []
    thick = max(3.2, 0.9 * frame.gsd)
    for k in range(3):
        turn = direction(2.0943951 * k)
        bc, bs = cos * turn[0] - sin * turn[1], sin * turn[0] + cos * turn[1]
        # The rotor stands upright: seen from above, it is foreshortened by the view.
        for part in stamp(
            frame, _box(top[0] + bs * blade / 2, top[1] + bc * blade / 2, bc, bs, blade, thick)
        ):
            canvas.tone[part.at] *= shade
        for part in stamp(
            frame, _box(y + bs * blade / 2, x + bc * blade / 2, bc, bs, blade, thick)
        ):
            slim = np.abs(part.v) <= thick / 2 * (1.0 - 0.55 * (part.u / blade + 0.5))
            rows.append(part.at[0][slim])
            cols.append(part.at[1][slim])
    for part in stamp(
        frame, _box(y, x, cos, sin, max(9.0, 1.45 * frame.gsd), max(4.0, 1.45 * frame.gsd))
    ):
        rows.append(part.at[0])
        cols.append(part.at[1])
    at = (np.concatenate(rows), np.concatenate(cols))
    strength = min(1.0, 2.4 / thick * 1.3)
    _set(canvas, at, "white", 0.95, 0.0, strength)
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
