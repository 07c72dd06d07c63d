"""Totals of a concept over all tiles, estimated from a sample with known inclusion probabilities.

Tiles are drawn by the probabilities of an observer on overviews, by a covariate, or with equal
probabilities. The values of the drawn tiles are the labels of the pairs, or the answers to a plan
of the drawn tiles that is written for annotation.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from foveate.errors import DataError, ParameterError
from foveate.observe.data.pairs import open_pairs
from foveate.observe.options import FLOOR, ObserverFolder, Quantity, Share, tile_budget
from foveate.observe.totals.amounts import (
    amounts,
    ground,
    known,
    objects_of,
    read_answers,
    unit_of,
    write_plan,
)  # fmt: skip
from foveate.observe.totals.covariates import tile_means
from foveate.observe.totals.designs import Design, compare, design
from foveate.run import Run
from foveate.run.job import Job
from foveate.run.options import AbsolutePath, Option

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from foveate.observe.data.pairs import Pairs
    from foveate.progress import ProgressFn
    from foveate.stats.sampling import Estimate


class EstimateJob(Job):
    """Options of `observe estimate`."""

    renamed = {"what": "concept", "of": "quantity", "model": "observer"}  # noqa: RUF012
    pairs: Annotated[AbsolutePath, Option("Input", argument=True)]
    """Folder of pairs."""
    concept: Annotated[str, Option("Input")] = Field(min_length=1)
    """Name of a concept of the pairs."""
    quantity: Annotated[Quantity, Option("Method")] = "area"
    """Quantity to estimate: area (from masks), tiles (with the concept), or count (of objects)."""
    budget: Annotated[str, Option("Method")] = "5%"
    """Number of tiles to draw: 5%, 200."""
    confidence: Annotated[Share, Option("Method", default="95%")] = Field(0.95, gt=0, lt=1)
    """Confidence of the interval: 95% or 0.95."""
    observer: Annotated[ObserverFolder | None, Option("Model")] = None
    """Trained observer; tiles are drawn in proportion to its probabilities."""
    covariate: Annotated[AbsolutePath | None, Option("Method")] = None
    """Georeferenced raster, such as night lights; tiles are drawn in proportion to it."""
    floor: Annotated[float, Option("Method")] = Field(FLOOR, gt=0, le=1)
    """Smallest inclusion probability, as a share of the probability of a uniform draw."""
    seed: int = Field(0, ge=0)
    """Seed of the draw."""
    device: str = "auto"
    """Device of the observer: auto, cpu, cuda, cuda:N or mps."""


def estimate(
    size: ArrayLike,
    n: int,
    look: Callable[[NDArray[np.int64]], ArrayLike],
    *,
    expected: ArrayLike | None = None,
    floor: float = FLOOR,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Draw tiles, look up their values, and estimate the total over all tiles.

    Args:
        size: (N,) >= 0, the inclusion probabilities are proportional to it.
        n: Number of tiles to draw.
        look: Function from (n,) rows to (n,) values; called once, with the drawn tiles.
        expected: (N,) >= 0, proportional to the expected value of each tile, or None.
        floor: See `design`.
        confidence: Confidence level of the interval, 0 to 1.
        seed: Seed of the draw.

    Raises:
        ParameterError: See `design`.
        DataError: Values are not finite.

    >>> values = np.array([0.0, 3.0, 4.0, 5.0])
    >>> estimate([1, 3, 4, 5], 4, lambda rows: values[rows]).total
    12.0
    """
    plan = design(size, n, expected=expected, floor=floor)
    rows = plan.draw(seed)
    return plan.total(rows, look(rows), confidence)


@dataclass(frozen=True, eq=False)
class Drawn:
    """A sample of tiles, before their values are known.

    Attributes:
        job: The job of the draw.
        pairs: All tiles.
        frame: (N,) rows of the tiles in the sampling frame.
        design: Sampling design over the frame.
        rows: (n,) rows of the drawn tiles, in the frame.
        by: Source of the inclusion probabilities: "model", "covariate" or "nothing" (uniform).
        uncovered: Number of tiles that the covariate does not cover.
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
        """(n,) inclusion probabilities of the drawn tiles."""
        return self.design.probabilities[self.rows]


def draw_tiles(job: EstimateJob, *, labelled: bool, progress: ProgressFn | None = None) -> Drawn:
    """Draw tiles.

    The same job on the same pairs draws the same tiles.

    Args:
        job: Options of the draw.
        labelled: Whether the frame is restricted to tiles with labels.
        progress: Progress callback.

    Raises:
        ParameterError: An observer and a covariate are both given, or the concept is unknown.
        BudgetError: The budget is not a number or share of tiles.
        DataError: No tile has labels, or the input is invalid.
    """
    if job.observer is not None and job.covariate is not None:
        raise ParameterError(
            "--observer with --covariate",
            "The two options exclude each other.",
            "Omit one of them.",
        )
    pairs = open_pairs(job.pairs)
    frame = np.arange(len(pairs))
    if labelled:
        frame = np.flatnonzero(known(pairs, job.concept, job.quantity))
        if not frame.size:
            raise DataError(
                f"no tile has labels of {job.concept!r}",
                "The values of drawn tiles come from the labels of the pairs.",
                "Write a plan for annotation, --plan FILE, then use --answers CSV.",
            )
    count = int(tile_budget(job.budget).resolve({"tiles": np.ones(frame.size)})["tiles"])
    size, expected, uncovered = _sizes(job, pairs, progress)
    plan = design(
        size[frame], min(count, frame.size), expected=None if expected is None else expected[frame],
        floor=job.floor, most=_most(job, pairs)[frame],
    )  # fmt: skip
    by = "model" if job.observer else "covariate" if job.covariate else "nothing"
    return Drawn(job, pairs, frame, plan, plan.draw(job.seed), by, int(uncovered[frame].sum()))


def from_labels(drawn: Drawn, *, repeats: int = 0) -> dict[str, Any]:
    """Estimate the total from the labels of the pairs.

    Args:
        drawn: The drawn tiles; the estimate uses the labels of these tiles only.
        repeats: Number of repeated draws to compare with the true total and with uniform draws.

    Returns:
        See `summary`; with "truth", the total of all labels, and "repeats", see `compare`.

    Raises:
        DataError: There are no labels for this quantity of the concept.
        ParameterError: The number of repeats is negative.
    """
    if repeats < 0:
        raise ParameterError(
            f"{repeats} repeats", "`repeats` must be >= 0.", "For example --repeats 200."
        )
    job, pairs = drawn.job, drawn.pairs
    objects = objects_of(job.pairs) if job.quantity == "count" else None
    look_up = amounts(pairs, job.concept, job.quantity, objects=objects)
    result = summary(drawn, look_up(drawn.tiles))
    truth = look_up(drawn.frame)
    result["truth"] = float(truth.sum())
    if repeats:
        result["repeats"] = compare(
            drawn.design, truth, repeats, confidence=job.confidence, seed=job.seed
        )
    return result


def summary(drawn: Drawn, values: NDArray[np.float64]) -> dict[str, Any]:
    """Return the estimate, JSON-ready.

    Args:
        drawn: The drawn tiles.
        values: (n,) values of the drawn tiles, in "unit".

    Returns:
        "estimate": total, low, high and standard_error; "found": number of drawn tiles with a value
        above 0; "seen": the amount in the drawn tiles.
    """
    job, result = drawn.job, drawn.design.total(drawn.rows, values, drawn.job.confidence)
    pool = drawn.pairs.pool
    return {
        "what": job.concept,
        "of": job.quantity,
        "unit": unit_of(pool, job.quantity),
        "estimate": asdict(result),
        "confidence": job.confidence,
        "drawn": int(drawn.rows.size),
        "found": int((values > 0).sum()),
        "seen": float(values.sum()),
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


def _most(job: EstimateJob, pairs: Pairs) -> NDArray[np.float64]:
    """Return the (n,) largest possible amounts of tiles; inf for objects."""
    if job.quantity == "area":
        return ground(pairs.pool)
    return np.full(len(pairs), 1.0 if job.quantity == "tiles" else np.inf)


def _sizes(
    job: EstimateJob, pairs: Pairs, progress: ProgressFn | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.bool_]]:
    """Return sizes, expected values or None, and the mask of uncovered tiles, (n,) each."""
    units = ground(pairs.pool) if job.quantity == "area" else np.ones(len(pairs))
    uncovered = np.zeros(len(pairs), bool)
    if job.observer is not None:
        from foveate.observe.networks.heads import lr_probabilities
        from foveate.observe.observer import Observer

        observer = Observer.load(job.observer, device=job.device)
        with Run.create(job.pairs) as store:
            p = lr_probabilities(
                observer, pairs, job.concept, run=store, device=job.device, progress=progress
            )
        # The concept is present with probability p, so the mean square value is proportional to p.
        return np.sqrt(p) * units, p * units, uncovered
    if job.covariate is not None:
        amount = tile_means(pairs.pool, job.covariate)
        missing = np.isnan(amount)
        if np.nanmin(amount) < 0:
            raise DataError(
                f"the covariate {job.covariate!r} is {np.nanmin(amount):g} over a tile",
                "A covariate must be >= 0, proportional to the expected amount.",
                "Shift or mask it, or declare missing values: gdal_edit.py -a_nodata VALUE FILE.",
            )
        # Uncovered tiles are assumed to be average, not empty.
        amount = np.where(missing, np.nanmean(amount), amount) * units
        return amount, amount, missing
    return units, units, uncovered


def estimate_totals(
    job: EstimateJob, *, repeats: int = 0, plan: str | Path | None = None,
    answers: str | Path | None = None, progress: ProgressFn | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Draw tiles, then write a plan of them, or estimate from answers or labels.

    Args:
        job: Options of estimate and draw.
        repeats: Number of repeated draws to compare with the true total and with uniform draws.
        plan: Output file of the drawn tiles for annotation, .csv or .geojson; or None.
        answers: CSV with the annotations, tile_id and value; or None to use labels.
        progress: Progress callback.

    Returns:
        See `summary`; for a plan "plan", "drawn", "tiles", "by", "uncovered" and "job".

    Raises:
        FoveateError: Options exclude each other, or the input is invalid.
    """
    if plan is not None and answers is not None:
        raise ParameterError(
            "--plan with --answers",
            "A plan is written first, and its answers are read in a second call.",
            "Omit --plan, and keep the other options and the seed.",
        )
    if repeats and (plan or answers):
        raise ParameterError(
            f"--repeats {repeats} with {'a plan' if plan else 'answers'}",
            "Repeated draws need labels of all tiles.",
            "Omit --repeats.",
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
