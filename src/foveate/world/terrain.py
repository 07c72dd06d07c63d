"""The plan of a scene: relief, rivers, lakes, sea, settlements and the roads between them.

Everything here lives on a coarse grid or in vectors, in metres; `frame` says which window of it
becomes pixels. The domain is never smaller than a kilometre, so that a small scene is a crop
of a landscape at its true scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from foveate import seeds
from foveate.world.network import Line, Router, densify, relax
from foveate.world.noise import direction, fractal, sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.world.themes import Theme

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]

MIN_DOMAIN = 1000.0  # metres


@dataclass(frozen=True)
class Frame:
    """Pixels in the metric domain of the plan.

    Attributes:
        shape: (h, w) pixels.
        gsd: Metres per pixel.
        domain: (height, width) of the domain in metres.
        y0: Metres from the top of the domain to the top of the window.
        x0: Metres from the left of the domain to the left of the window.
        key: Prefix of the scene's random streams.
        seed: Seed of the world.
    """

    shape: tuple[int, int]
    gsd: float
    domain: tuple[float, float]
    y0: float
    x0: float
    key: str
    seed: int

    def rng(self, name: str) -> np.random.Generator:
        """Return the random stream `name` of this scene."""
        return seeds.rng(self.seed, f"{self.key}/{name}")

    def axes(self) -> tuple[F32, F32]:
        """Return pixel centres in metres of the domain: (h,) y and (w,) x, float32."""
        y = self.y0 + (np.arange(self.shape[0]) + 0.5) * self.gsd
        x = self.x0 + (np.arange(self.shape[1]) + 0.5) * self.gsd
        return y.astype(np.float32), x.astype(np.float32)

    def resample(self, coarse: F32, step: float) -> F32:
        """Evaluate a plan grid of spacing `step` metres at every pixel: (h, w) float32."""
        rows = (self.y0 + (np.arange(self.shape[0]) + 0.5) * self.gsd) / step
        cols = (self.x0 + (np.arange(self.shape[1]) + 0.5) * self.gsd) / step
        return sample(coarse, np.asarray(rows, np.float64), np.asarray(cols, np.float64))

    def fractal(self, name: str, wavelength: float, gain: float = 0.5, finest: float = 0.0) -> F32:
        """Fractal noise of `wavelength` metres at every pixel: (h, w) float32."""
        return fractal(
            self.rng(name),
            self.shape,
            wavelength=wavelength / self.gsd,
            gain=gain,
            finest=max(2.0, finest / self.gsd),
        )

    def pixel(self, y: NDArray, x: NDArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Pixel rows and columns of positions in metres; may be outside the image."""
        row = np.floor((np.asarray(y) - self.y0) / self.gsd).astype(np.intp)
        col = np.floor((np.asarray(x) - self.x0) / self.gsd).astype(np.intp)
        return row, col


@dataclass(frozen=True)
class Place:
    """A settlement: centre (m), radius (m) and direction of its main street (radians)."""

    y: float
    x: float
    radius: float
    angle: float


@dataclass(frozen=True, eq=False)
class Plan:
    """The plan of one scene.

    Attributes:
        step: Spacing of the grids in metres.
        height: (p, q) float32 metres above the sea or the river.
        lake: (p, q) float32, lake where below 0 (in units of the lake noise).
        river_far: (p, q) float32 distance to the nearest river in metres.
        rivers: River lines.
        places: Settlements, largest first.
        quarries: Pits, with the fields of a settlement.
        roads: Paved roads between the settlements and out of the domain.
        tracks: Unpaved tracks.
    """

    step: float
    height: F32
    lake: F32
    river_far: F32
    rivers: list[Line]
    places: list[Place]
    quarries: list[Place]
    roads: list[Line]
    tracks: list[Line]


def plan(frame: Frame, theme: Theme) -> Plan:
    """Create the plan of the domain of `frame` for a theme."""
    longest = max(frame.domain)
    step = max(longest / 512.0, min(8.0, longest / 128.0))
    shape = (int(frame.domain[0] / step) + 2, int(frame.domain[1] / step) + 2)
    size = min(max(0.55 * longest, 350.0), 5000.0)
    height = fractal(frame.rng("height"), shape, wavelength=size / step, gain=0.46)
    height *= np.float32(theme.relief * size * 0.5)
    if theme.sea:
        height = _sea(frame, height, step, theme.sea)
    rivers = _rivers(frame, theme, height, step)
    river_far = _far(rivers, shape, step)
    reach = np.float32(max(0.16 * size, 60.0))
    valley = np.float32(1.0) / (np.float32(1.0) + (river_far / reach) ** 2)
    height = height - (height - np.float32(height.min())) * valley * np.float32(0.9)
    lake = fractal(frame.rng("lake"), shape, wavelength=min(0.6 * size, 1400.0) / step, gain=0.45)
    lake = lake - _quantile(lake, theme.lakes) if theme.lakes else np.full_like(lake, 9.0)
    # Lakes keep their distance from the rivers: they are oxbows and gravel pits, not bulges.
    lake += np.float32(1.0) / (np.float32(0.02) + (river_far / np.float32(90.0)) ** 2)
    wet = (lake < 0.1) | (river_far < step) | ((height < 1.0) if theme.sea else False)
    places = _places(frame, theme, height, wet, step)
    quarries = _quarries(frame, theme, places, (wet, height), step)
    roads, tracks = _roads(frame, places, (wet, height), river_far, step)
    return Plan(step, height, lake, river_far, rivers, places, quarries, roads, tracks)


def _quantile(values: F32, share: float) -> np.float32:
    """Return an exact order statistic: interpolation would depend on processor rounding."""
    flat = values.ravel()
    k = min(int(share * flat.size), flat.size - 1)
    return np.partition(flat, k)[k]


def _sea(frame: Frame, height: F32, step: float, share: float) -> F32:
    angle = float(frame.rng("sea").uniform(0.0, 6.28))
    cos, sin = direction(angle)
    y = np.arange(height.shape[0], dtype=np.float32)[:, None] * np.float32(step)
    x = np.arange(height.shape[1], dtype=np.float32)[None, :] * np.float32(step)
    out = height + (x * np.float32(cos) + y * np.float32(sin)) * np.float32(0.045)
    return out - _quantile(out, share)


def _rivers(frame: Frame, theme: Theme, height: F32, step: float) -> list[Line]:
    """Create the rivers: a wide domain has a larger river with tributaries."""
    wider = max(max(frame.domain) / MIN_DOMAIN, 1.0)
    out: list[Line] = []
    for k, width in enumerate(theme.rivers):
        grown = width * min(math.sqrt(math.sqrt(wider)), 2.0)
        out.append(_river(frame, height, step, k, grown))
        for m in range(min(int(wider / 3.5), 7)):
            side = _river(frame, height, step, 10 + m, max(0.36 * grown, 3.0))
            main = KDTree(out[0].points)
            gap, nearest = main.query(side.points)
            met = (gap < 2.5 * grown).nonzero()[0]
            # Either half of the course may be the tributary: the longer one is.
            if met.size and met[0] >= len(side.points) - met[-1]:
                keep, end = slice(0, met[0]), out[0].points[nearest[met[0]]][None]
                points = np.concatenate([side.points[keep], end])
            elif met.size:
                keep, end = slice(met[-1] + 1, None), out[0].points[nearest[met[-1]]][None]
                points = np.concatenate([end, side.points[keep]])
            else:
                points = side.points
            if len(points) > 8:
                out.append(Line(points, np.resize(side.width, len(points))))
    return out


def _river(frame: Frame, height: F32, step: float, k: int, width: float) -> Line:
    rng = frame.rng(f"river/{k}")
    tall, wide = frame.domain
    a, b = rng.uniform(0.25, 0.75, 2)
    across = bool(rng.integers(2))
    start, end = (
        ((a * tall, 0.0), (b * tall, wide)) if across else ((0.0, a * wide), (tall, b * wide))
    )
    every = max(1, max(height.shape) // 72)
    coarse = height[::every, ::every].astype(np.float64)
    low, high = float(coarse.min()), float(coarse.max())
    cost = 0.15 + ((coarse - low) / max(high - low, 1e-6)) ** 2
    points = relax(Router(cost, step * every).route(start, end), 6)
    # Meanders: sideways noise with a wavelength of about twelve widths (Leopold 1960).
    delta = np.diff(points, axis=0)
    along = np.concatenate([[0.0], np.cumsum(np.sqrt((delta**2).sum(axis=1)))])
    n = max(int(along[-1] / max(width * 0.35, 3.0)), 16)
    want = np.linspace(0.0, along[-1], n)
    points = np.stack([np.interp(want, along, points[:, c]) for c in (0, 1)], axis=1)
    tangent = np.gradient(points, axis=0)
    tangent /= np.maximum(np.sqrt((tangent**2).sum(axis=1)), 1e-9)[:, None]
    swing = fractal(rng, (n, 4), wavelength=12.0 * width / (along[-1] / n), gain=0.35)[:, 1]
    points[:, 0] += tangent[:, 1] * swing * width * 1.1
    points[:, 1] -= tangent[:, 0] * swing * width * 1.1
    wobble = fractal(rng, (n, 4), wavelength=6.0 * width / (along[-1] / n))[:, 1]
    return Line(points, width * np.clip(1.0 + 0.16 * wobble.astype(np.float64), 0.6, 1.5))


def _far(lines: list[Line], shape: tuple[int, int], step: float) -> F32:
    off = np.ones(shape, bool)
    if not lines:
        return np.full(shape, 1e4, np.float32)
    for line in lines:
        cells = np.rint(line.points / step).astype(int)
        keep = (cells >= 0).all(axis=1) & (cells < shape).all(axis=1)
        off[cells[keep, 0], cells[keep, 1]] = False
    if off.all():
        return np.full(shape, 1e4, np.float32)
    return (distance_transform_edt(off) * step).astype(np.float32)


def _places(
    frame: Frame, theme: Theme, height: F32, wet: NDArray[np.bool_], step: float
) -> list[Place]:
    rng = frame.rng("places")
    dry = distance_transform_edt(~wet).astype(np.float32) * np.float32(step)
    gy, gx = np.gradient(height, step)
    slope = np.sqrt(gy * gy + gx * gx)
    score = rng.random(height.shape, dtype=np.float32) * np.float32(0.3) - slope * np.float32(6.0)
    score -= np.abs(dry - np.float32(theme.town * 0.7)) * np.float32(0.6 / max(theme.town, 1.0))
    y = np.arange(height.shape[0], dtype=np.float32)[:, None] * np.float32(step)
    x = np.arange(height.shape[1], dtype=np.float32)[None, :] * np.float32(step)
    margin = np.float32(min(theme.town * 1.1, 0.32 * min(frame.domain)))
    inside = (y > margin) & (y < frame.domain[0] - margin)
    inside = inside & (x > margin) & (x < frame.domain[1] - margin)
    score = np.where(inside & (dry > 0.25 * theme.town), score, np.float32(-1e6))
    area = frame.domain[0] * frame.domain[1]
    wanted = min(max(1, round(area / theme.spacing**2)), 70)
    out: list[Place] = []
    while len(out) < wanted and score.max() > -1e5:
        row, col = np.unravel_index(int(np.argmax(score)), score.shape)
        grow = 1.0 if not out else float(rng.uniform(0.3, 0.75))
        # Towns grow with the landscape that feeds them, villages do not.
        grow *= min(max(round((area / 1e6) ** 0.22, 6), 1.0), 2.6) if not out else 1.0
        here = Place(
            int(row) * step, int(col) * step, theme.town * grow, float(rng.uniform(0.0, 3.14))
        )
        out.append(here)
        apart = (y - np.float32(here.y)) ** 2 + (x - np.float32(here.x)) ** 2
        clear = max(theme.spacing * 0.62, here.radius * 1.9)
        score = np.where(apart < np.float32(clear**2), np.float32(-1e6), score)
    return out


def _quarries(
    frame: Frame,
    theme: Theme,
    places: list[Place],
    land: tuple[NDArray[np.bool_], F32],
    step: float,
) -> list[Place]:
    """Place quarries on dry slopes away from the settlements."""
    wet, height = land
    rng = frame.rng("quarries")
    wanted = theme.quarries * math.sqrt(frame.domain[0] * frame.domain[1]) / 4e3
    wanted = min(max(round(wanted), 1 if theme.quarries >= 0.5 else 0), 12)
    dry = distance_transform_edt(~wet) * step
    gy, gx = np.gradient(height, step)
    slope = np.sqrt(gy * gy + gx * gx)
    out: list[Place] = []
    for _ in range(wanted):
        best: tuple[float, Place] | None = None
        for _ in range(30):
            radius = float(rng.uniform(42.0, 95.0))
            y = float(rng.uniform(0.12, 0.88)) * frame.domain[0]
            x = float(rng.uniform(0.12, 0.88)) * frame.domain[1]
            cell = (int(y / step), int(x / step))
            apart = min(
                (math.sqrt((y - p.y) ** 2 + (x - p.x) ** 2) - p.radius - radius for p in places),
                default=999.0,
            )
            apart = min(apart, float(dry[cell]) - 1.4 * radius)
            score = min(apart, 0.0) + 40.0 * float(slope[cell])
            if best is None or score > best[0]:
                best = (score, Place(y, x, radius, 0.0))
        if best is not None and best[0] > 0.0:
            out.append(best[1])
    return out


def _roads(
    frame: Frame,
    places: list[Place],
    land: tuple[NDArray[np.bool_], F32],
    river_far: F32,
    step: float,
) -> tuple[list[Line], list[Line]]:
    wet, height = land
    rng = frame.rng("roads")
    every = max(1, max(height.shape) // 84)
    coarse = height[::every, ::every].astype(np.float64)
    gy, gx = np.gradient(coarse, step * every)
    wild = rng.random(coarse.shape) * 0.5
    # A routing cell that a river crosses is wet, however narrow the river.
    soaked = wet[::every, ::every] | (river_far[::every, ::every] < 0.75 * step * every)
    cost = 1.0 + wild + (gy * gy + gx * gx) * 120.0 + 60.0 * soaked
    cost += 14.0 * (river_far[::every, ::every] < 2.3 * step * every)
    router = Router(cost, step * every)
    tall, wide = frame.domain
    a, b, c, d = rng.uniform(0.2, 0.8, 4)
    gates = [(a * tall, 0.0), (b * tall, wide), (0.0, c * wide), (tall, d * wide)]
    gates = [gates[k] for k in rng.permutation(4)]
    ends: list[tuple[tuple[float, float], tuple[float, float], float]] = []
    if not places:
        ends.append((gates[0], gates[1], 8.0))
    else:
        centre = (places[0].y, places[0].x)
        ends += [(centre, gate, 8.0 - 0.6 * k) for k, gate in enumerate(gates[:3])]
        for k, here in enumerate(places[1:], start=1):
            gap = [(p.y - here.y) ** 2 + (p.x - here.x) ** 2 for p in places[:k]]
            near = places[int(np.argmin(gap))]
            ends.append(((here.y, here.x), (near.y, near.x), 6.4))
    roads: list[Line] = []
    for start, end, width in ends:
        # From the gate inwards, so that a road ends where it meets one that is there already.
        points = router.route(end, start)
        road = _joined(points, roads, step * every)
        router.discount(points, 0.3)
        if road is not None:
            roads.append(Line(road, np.full(len(road), width)))
    router.cost += soaked * 60.0
    tracks: list[Line] = []
    for _ in range(min(max(2, round(tall * wide / 4e5)), 120)):
        if roads:
            way = roads[int(rng.integers(len(roads)))].points
            first = way[int(rng.integers(len(way)))]
            start = (float(first[0]), float(first[1]))
        else:
            start = (float(rng.uniform(0, tall)), float(rng.uniform(0, wide)))
        reach = rng.uniform(-700.0, 700.0, 2)
        end = (
            min(max(start[0] + float(reach[0]), 0.0), tall),
            min(max(start[1] + float(reach[1]), 0.0), wide),
        )
        track = _joined(router.route(end, start), roads, step * every)
        if track is not None:
            tracks.append(Line(track, np.full(len(track), 3.4)))
    return roads, tracks


def _joined(points: F64, roads: list[Line], cell: float) -> F64 | None:
    """Truncate a path where it first meets a road, join it there, and smooth it."""
    dense = densify(Line(points, np.ones(len(points))), 0.5 * cell).points
    if roads:
        others = np.concatenate([road.points for road in roads])
        gap, nearest = KDTree(others).query(dense)
        met = (gap < 0.9 * cell).nonzero()[0]
        if met.size:
            dense = np.concatenate([dense[: met[0]], others[nearest[met[0]]][None]])
    return relax(dense, 14) if len(dense) > 4 else None
