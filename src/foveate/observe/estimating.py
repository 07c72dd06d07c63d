"""The estimate job: how much of a concept there is in all scenes of pairs.

Tiles are drawn with known probabilities: after what overviews tell of them (an observer, a
covariate), or evenly. Then either the labels of the pairs say what the drawn tiles hold, or a plan
of them is written for a person who finds out, and whose answers give the estimate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.budget import Budget
from foveate.errors import DataError, ParameterError
from foveate.observe.amounts import amounts, ground, known, objects_of, unit_of
from foveate.observe.covariates import tile_means
from foveate.observe.estimate import Design, compare, design
from foveate.observe.pairs import open_pairs
from foveate.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.observe.jobs import EstimateJob
    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn


@dataclass(frozen=True, eq=False)
class Drawn:
    """A draw of tiles, before anything is known of them.

    Attributes:
        job: What it was made for.
        pairs: All tiles.
        frame: (N,) rows of the tiles that could be drawn.
        design: Over the frame.
        rows: (n,) rows of the drawn tiles, in the frame.
        by: What said where to look: "model", "covariate" or "nothing".
        uncovered: Tiles that the covariate does not reach.
    """

    job: EstimateJob
    pairs: Pairs
    frame: NDArray[np.int64]
    design: Design
    rows: NDArray[np.int64]
    by: str
    uncovered: int = 0

    @property
    def tiles(self) -> NDArray[np.int64]:
        """(n,) rows of the drawn tiles, in the pool."""
        return self.frame[self.rows]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(n,) with which each of them was drawn."""
        return self.design.probabilities[self.rows]


def draw_tiles(job: EstimateJob, *, labelled: bool, progress: ProgressFn | None = None) -> Drawn:
    """Draw tiles.

    The same job on the same pairs draws the same tiles.

    Args:
        job: How.
        labelled: Whether none but tiles with labels can be drawn, whatever these say.
        progress: Called with ticks.

    Raises:
        ParameterError: A model and a covariate at once; a concept that is not known.
        BudgetError: The budget is none of tiles.
        DataError: No tile has labels, or the input does not fit.
    """
    if job.observer is not None and job.covariate is not None:
        raise ParameterError(
            "an observer and a covariate", "One of them says where to look.", "Leave one out."
        )
    pairs = open_pairs(job.pairs)
    frame = np.arange(len(pairs))
    if labelled:
        frame = np.flatnonzero(known(pairs, job.concept, job.quantity))
        if not frame.size:
            raise DataError(
                f"no tile has labels that tell {job.concept!r}",
                "The estimate takes what drawn tiles hold from the labels of the pairs.",
                "Write a plan for somebody who finds out: --plan FILE, then --answers CSV.",
            )
    count = int(Budget.parse(job.budget).resolve({"tiles": np.ones(frame.size)})["tiles"])
    size, expected, uncovered = _sizes(job, pairs, progress)
    plan = design(
        size[frame], min(count, frame.size), expected=None if expected is None else expected[frame],
        floor=job.floor,
    )  # fmt: skip
    by = "model" if job.observer else "covariate" if job.covariate else "nothing"
    return Drawn(job, pairs, frame, plan, plan.draw(job.seed), by, int(uncovered[frame].sum()))


def from_labels(drawn: Drawn, *, repeats: int = 0) -> dict[str, Any]:
    """Estimate by the labels of the pairs.

    Args:
        drawn: The draw; the estimate looks at the labels of its tiles alone.
        repeats: Draws to compare with the truth, and with even draws; 0 for none.

    Returns:
        See `summary`; with "truth", the total of all labels, and "repeats", see `compare`.

    Raises:
        DataError: Nothing tells these amounts of this concept.
        ParameterError: A negative number of repeats.
    """
    if repeats < 0:
        raise ParameterError(f"{repeats} repeats", "0 or more.", "--repeats 200")
    job, pairs = drawn.job, drawn.pairs
    objects = objects_of(job.pairs) if job.quantity == "count" else None
    look = amounts(pairs, job.concept, job.quantity, objects=objects)
    found = summary(drawn, look(drawn.tiles))
    truth = look(drawn.frame)
    found["truth"] = float(truth.sum())
    if repeats:
        found["repeats"] = compare(
            drawn.design, truth, repeats, confidence=job.confidence, seed=job.seed
        )
    return found


def summary(drawn: Drawn, values: NDArray[np.float64]) -> dict[str, Any]:
    """Return the estimate, JSON-ready.

    Args:
        drawn: The draw.
        values: (n,) what the drawn tiles hold, in "unit".

    Returns:
        "estimate": total, low, high and standard_error; "found": drawn tiles that hold something.
    """
    job, found = drawn.job, drawn.design.total(drawn.rows, values, drawn.job.confidence)
    pool = drawn.pairs.pool
    # There cannot be less than nothing, whatever the interval of a symmetric law says.
    return {
        "what": job.concept,
        "of": job.quantity,
        "unit": unit_of(pool, job.quantity),
        "estimate": {**asdict(found), "low": max(0.0, found.low)},
        "confidence": job.confidence,
        "drawn": int(drawn.rows.size),
        "found": int((values > 0).sum()),
        "tiles": int(drawn.frame.size),
        "without_labels": int(len(pool) - drawn.frame.size),
        "by": drawn.by,
        "uncovered": drawn.uncovered,
        "ground": float(ground(pool)[drawn.frame].sum()),
        "ground_unit": unit_of(pool, "area"),
        "truth": None,
        "repeats": None,
        "job": job.model_dump(mode="json"),
    }


def _sizes(
    job: EstimateJob, pairs: Pairs, progress: ProgressFn | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.bool_]]:
    """Return sizes, what is expected, and which tiles the covariate does not reach, (n,) each."""
    here = ground(pairs.pool) if job.quantity == "area" else np.ones(len(pairs))
    reached = np.zeros(len(pairs), bool)
    if job.observer is not None:
        from foveate.observe.observer import Observer
        from foveate.observe.told import lr_probabilities

        observer = Observer.load(job.observer, device=job.device)
        with Run.create(job.pairs) as store:
            p = lr_probabilities(
                observer, pairs, job.concept, run=store, device=job.device, progress=progress
            )
        # A tile holds something with probability p: the mean of the square is in proportion to p.
        return np.sqrt(p) * here, p * here, reached
    if job.covariate is not None:
        amount = tile_means(pairs.pool, job.covariate)
        missing = np.isnan(amount)
        if np.nanmin(amount) < 0:
            raise DataError(
                f"the covariate {job.covariate!r} is {np.nanmin(amount):g} over a tile",
                "It is in proportion to what there is: 0 or more.",
                "Shift or mask it; declare what is missing: gdal_edit.py -a_nodata VALUE FILE.",
            )
        # Where nothing is known a tile is like the others, on average; not empty.
        amount = np.where(missing, np.nanmean(amount), amount) * here
        return amount, amount, missing
    return here, here, reached


def estimate_totals(
    job: EstimateJob, *, repeats: int = 0, plan: str | Path | None = None,
    answers: str | Path | None = None, progress: ProgressFn | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Draw tiles, then write a plan of them, or estimate from answers or from labels.

    Args:
        job: What to estimate, and how to draw.
        repeats: Draws to compare with the truth, and with even draws; 0 for none.
        plan: File for the drawn tiles, .csv or .geojson, for a person who finds out; or None.
        answers: CSV of what was found on them: tile_id, value; or None for the labels.
        progress: Called with ticks.

    Returns:
        See `summary`; of a plan "plan", "drawn", "tiles", "by", "uncovered" and "job".

    Raises:
        FoveateError: Options that exclude each other, or anything that is wrong with the input.
    """
    from foveate.observe.fieldwork import read_answers, write_plan

    if plan is not None and answers is not None:
        raise ParameterError(
            "a plan and answers to it",
            "The plan is written first, and answered later.",
            "Leave out --plan; the other options and the seed stay as they were.",
        )
    if repeats and (plan or answers):
        raise ParameterError(
            f"--repeats {repeats} with {'a plan' if plan else 'answers'}",
            "Draws are repeated where labels tell what all tiles hold.",
            "Leave out --repeats.",
        )
    drawn = draw_tiles(job, labelled=not (plan or answers), progress=progress)
    if plan is not None:
        write_plan(drawn, Path(plan))
        return {
            "plan": str(plan), "drawn": len(drawn.rows), "tiles": len(drawn.frame),
            "by": drawn.by, "uncovered": drawn.uncovered, "job": job.model_dump(mode="json"),
        }  # fmt: skip
    if answers is not None:
        return summary(drawn, read_answers(drawn, Path(answers)))
    return from_labels(drawn, repeats=repeats)
