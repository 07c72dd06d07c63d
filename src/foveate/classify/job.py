"""The classify job: from folders to a run directory with what each image shows.

Each step writes its outputs under a key made of everything it depends on, so other labels reuse
the embeddings, and a second run of the same job does no work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.classify.steps import Work
from foveate.errors import ParameterError
from foveate.models.heads.probe import Probe
from foveate.models.heads.prompts import templates_from
from foveate.models.heads.zero_shot import check_kind
from foveate.pool.find import need_paths
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from foveate.classify.settings import ClassifyJob
    from foveate.models.heads.prompts import Labels
    from foveate.progress import ProgressFn


def run(
    job: ClassifyJob,
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
        progress: Called with ticks.

    Returns:
        The closed run; ``run.worked`` says whether anything was done.

    Raises:
        FoveateError: Anything that is wrong with the input, before anything is written where
            that can be known; what was embedded before a broken file is kept.
    """
    need_paths(job.images, "image")
    need_paths(job.masks, "mask")
    labels = job.known_labels()
    _check(job, labels)
    templates = templates_from(job.templates)
    probe = Probe.load(job.probe) if job.probe is not None else None
    handle = job.handle()
    with Run.create(out, job=job.model_dump(mode="json"), command=command) as opened:
        work = Work(job, opened, labels, templates, probe, progress)
        work.open_pool()
        work.embed(handle)
        work.predict()
        work.show()
        opened.describe(summary=work.summary())
        if report is not None:
            opened.draw("report", lambda: [str(report(opened.path).relative_to(opened.path))])
    return opened


def _check(job: ClassifyJob, labels: Labels | None) -> None:
    """Refuse settings that contradict each other."""
    kind = check_kind(job.head)
    if job.masks and job.truth_from_folders:
        raise ParameterError(
            "masks and truth from folders together", "The truth comes from one of them."
        )
    if kind is not None and labels is None:
        raise ParameterError(f"head={kind!r} with a probe", "A probe brings its own.")
    if labels is not None and len(labels) == 1 and kind != "sigmoid":
        raise ParameterError(
            f"the one label {next(iter(labels))!r}",
            "Labels are compared with each other: one alone always wins.",
            "Add another ('anything else'); models of a sigmoid loss (SigLIP, tuned) "
            "can judge it alone: --head sigmoid.",
        )
