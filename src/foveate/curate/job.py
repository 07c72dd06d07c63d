"""The curate job: from folders to a run directory with selections and a report.

Each step writes its outputs under a key made of everything it depends on, so another budget or
method reuses the embeddings, and a second run of the same job does no work.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from foveate.budget import Budget
from foveate.curate.methods import Method, get_method
from foveate.curate.steps import NO_MASKS, Work
from foveate.errors import ParameterError
from foveate.pool.find import need_paths
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from foveate.curate.settings import CurateJob
    from foveate.progress import ProgressFn

logger = logging.getLogger("foveate")


def run(
    job: CurateJob,
    out: str | Path,
    *,
    command: str = "",
    report: Callable[[Path], Path] | None = None,
    progress: ProgressFn | None = None,
) -> Run:
    """Do the job.

    Args:
        job: What to do.
        out: Run directory: new, empty, or an earlier run to go on with.
        command: The command that repeats the job, for the record.
        report: Draws a page of the run directory into it and returns the file: `write_report`.
            Called at the end, still under the lock, if the page does not show the run as it is.
        progress: Called with ticks.

    Returns:
        The closed run; ``run.worked`` says whether anything was done.

    Raises:
        FoveateError: Anything that is wrong with the input, before anything is written where
            that can be known; what was embedded before a broken file is kept.
    """
    methods = {name: get_method(name) for name in job.chosen_methods()}
    options = {n: m.options(job.preset, job.options.get(n)) for n, m in methods.items()}
    _check_options(job, methods)
    if job.methods is None and not job.masks:
        logger.warning("%s", NO_MASKS)
    budget = Budget.parse(job.budget)
    handle = None
    if any("embeddings" in m.needs for m in methods.values()):
        handle = job.handle()
    with Run.create(out, job=job.model_dump(mode="json"), command=command) as opened:
        work = Work(job, opened, budget, methods, options, progress)
        work.open_pool()
        if handle is not None:
            work.embed(handle)
        work.ready()
        for name in methods:
            work.rank(name)
            work.select(name)
        work.tidy()
        work.show()
        opened.describe(summary=work.summary())
        if report is not None:
            opened.draw("report", lambda: [str(report(opened.path).relative_to(opened.path))])
    return opened


def _check_options(job: CurateJob, methods: dict[str, Method]) -> None:
    need_paths(job.images, "image")
    need_paths(job.masks, "mask")
    stray = sorted(set(job.options) - set(methods))
    if stray:
        raise ParameterError(
            f"options for {stray[0]!r}, which is not among the methods",
            f"Methods of this job: {', '.join(methods)}.",
            f"Add --method {stray[0]}.",
        )
    needy = [n for n, m in methods.items() if "counts" in m.needs]
    if needy and not job.masks:
        raise ParameterError(
            f"the method{'s' if len(needy) > 1 else ''} {', '.join(needy)} need"
            f"{'' if len(needy) > 1 else 's'} masks, and none are given",
            "Class counts come from masks.",
            "Give --masks FOLDER, or use fd, fa, kcenter or random.",
        )
