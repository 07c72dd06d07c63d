"""Make the plan of a build job: read its anchors, and search its catalogues around them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.observe.build.matching import DAY, Matcher, acquisitions
from foveate.observe.build.plan import Sieve, make_plan, moment_text
from foveate.observe.build.polygons import read_anchors
from foveate.pool.stac.assets import bands_of, quality_of
from foveate.pool.stac.items import read_items
from foveate.pool.stac.search import Search
from foveate.progress import Meter

if TYPE_CHECKING:
    from foveate.observe.build.footprints import Layout
    from foveate.observe.build.job import BuildJob
    from foveate.observe.build.matching import Acquisitions
    from foveate.observe.build.plan import Plan
    from foveate.observe.build.polygons import Polygons
    from foveate.observe.build.rules import Rules
    from foveate.pool.stac.items import Item
    from foveate.progress import ProgressFn

_DEGREE = 111_320.0  # metres
_WITHOUT_ASSETS, _WITHOUT_LAYER = "without the assets", "without a scene classification layer"


def plan_job(
    job: BuildJob, layout: Layout, rules: Rules, *, progress: ProgressFn | None = None
) -> tuple[Plan, Polygons]:
    """Read anchors and catalogues, and make the plan of a job.

    Raises:
        DataError: An input cannot be read, or no pair is left.
    """
    scl = tuple(job.scl)
    with Meter(progress, "planning pairs", 4) as meter:
        polygons = read_anchors(job.anchors, rules, job.region)
        meter.advance()
        box = _bounding_box(polygons, layout)
        hr_search = Search(datetime=job.hr_datetime, bbox=box)
        hr = _items(job.hr, hr_search, "HR", tuple(job.hr_assets), ("none",))
        meter.advance()
        when = job.lr_datetime or _around_hr(hr, job.window)
        lr_search = Search(datetime=when, bbox=box)
        lr = _items(job.lr, lr_search, "LR", tuple(job.lr_assets), scl)
        meter.advance()
        limits = (-math.inf, math.inf)
        if job.lr_datetime:
            start, end = lr_search.interval() or (None, None)
            limits = (
                -math.inf if start is None else start.timestamp(),
                math.inf if end is None else end.timestamp(),
            )
        matcher = Matcher(hr, lr, job.span, job.window, limits, job.max_cloud, job.tries)
        sieve = Sieve(
            layout.metres if job.thin is None else job.thin, job.min_concepts, job.min_labelled,
            job.limit, job.block, job.seed,
        )  # fmt: skip
        plan = make_plan(polygons, layout, sieve, matcher)
        meter.advance()
    return plan, polygons


def _bounding_box(polygons: Polygons, layout: Layout) -> tuple[float, ...]:
    """Return the bounding box of all footprints in degrees, or () if it would cross 180 degrees."""
    import shapely

    west, south, east, north = shapely.total_bounds(polygons.shapes).tolist()
    dy = layout.metres / _DEGREE
    south, north = max(south - dy, -90.0), min(north + dy, 90.0)
    dx = dy / max(np.cos(np.radians(max(abs(south), abs(north)))), 0.01)
    box = (west - dx, south, east + dx, north)
    return box if box[0] >= -180 and box[2] <= 180 else ()


def _items(
    path: str, search: Search, what: str, assets: tuple[str, ...], scl: tuple[str, ...]
) -> Acquisitions:
    """Read the items of a catalogue that match a search.

    Args:
        path: Path or URL of the catalogue.
        search: Dates and bounding box.
        what: "HR" or "LR", for messages.
        assets: Assets to read; () for the only image asset.
        scl: Names of scene classification layers, of which each item needs one; ("none",) for none.

    Raises:
        DataError: The catalogue cannot be read, or it has no usable item.
        ParameterError: Items have several image assets, and `assets` is empty.
    """

    def lacking(item: Item) -> str:
        try:
            bands_of(item, assets)
        except DataError:
            return _WITHOUT_ASSETS
        no_layer = scl != ("none",) and quality_of(item, scl) is None
        return _WITHOUT_LAYER if no_layer else ""

    matches = (item for item in read_items(path, search) if not search.why_not(item.content))
    return acquisitions(matches, what, lacking)


def _around_hr(hr: Acquisitions, days: float) -> str:
    """Return the time interval of all HR items, extended by `days` at both ends."""
    first, last = hr.seconds.min() - days * DAY, hr.seconds.max() + days * DAY
    return f"{moment_text(float(first))}/{moment_text(float(last))}"
