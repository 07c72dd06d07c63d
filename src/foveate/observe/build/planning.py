"""Make the plan of a build job from its anchors and catalogues."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from foveate.observe.build.catalogue import around_hr, ground_of, items_of
from foveate.observe.build.matching import Matcher
from foveate.observe.build.plan import Sieve, make_plan
from foveate.observe.build.polygons import read_anchors
from foveate.pool.stac.search import Search
from foveate.progress import Meter

if TYPE_CHECKING:
    from foveate.observe.build.footprints import Layout
    from foveate.observe.build.job import BuildJob
    from foveate.observe.build.plan import Plan
    from foveate.observe.build.polygons import Polygons
    from foveate.observe.build.rules import Rules
    from foveate.progress import ProgressFn


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
        box = ground_of(polygons, layout)
        hr_search = Search(datetime=job.hr_datetime, bbox=box)
        hr = items_of(job.hr, hr_search, "HR", tuple(job.hr_assets), ("none",))
        meter.advance()
        when = job.lr_datetime or around_hr(hr, job.window)
        lr_search = Search(datetime=when, bbox=box)
        lr = items_of(job.lr, lr_search, "LR", tuple(job.lr_assets), scl)
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
