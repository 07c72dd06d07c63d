"""Totals of a concept in all tiles, from a few that were drawn with known probabilities.

Tiles are drawn by the probabilities of an observer on overviews, by a covariate, or evenly. Then
either the labels of the pairs say what the drawn tiles hold, or a plan of them is written for a
person who finds out, and whose answers give the estimate.

Tiles are drawn in proportion to a size, which is best the root of what the square of a tile's value
is expected to be (Sarndal, Swensson and Wretman 1992, section 12.2; IS-Count, Meng et al. 2022,
draws in proportion to a covariate; DISCount, Perez et al. 2024, to what a detector counts). A floor
lets every tile be drawn: none is scaled by more than 1 / floor of what an even draw would do.

Where a value is expected of every tile, the total is the sum of what is expected, brought to scale
by the draw, plus the scaled errors of the tiles that were drawn: the ratio form of the regression
estimator (Sarndal et al. 1992, section 7.3). Wrong expectations make the interval long, not wrong;
the bias of the scale is small beside the error, and falls with the number of tiles.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from foveate.budget import Budget
from foveate.errors import DataError, ParameterError
from foveate.observe._check import finite
from foveate.observe.amounts import (
    amounts,
    ground,
    known,
    objects_of,
    read_answers,
    unit_of,
    write_plan,
)  # fmt: skip
from foveate.observe.covariates import tile_means
from foveate.observe.options import FLOOR, ObserverFolder, Quantity, Share
from foveate.observe.pairs import open_pairs
from foveate.run import Run
from foveate.run.job import Job
from foveate.run.options import AbsolutePath, Option
from foveate.seeds import rng
from foveate.stats.sampling import Estimate, draw, inclusion_probabilities, total, total_difference

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn

_LEAST = 2  # tiles that tell a variance


class EstimateJob(Job):
    """What is to be estimated, and how tiles are drawn for it."""

    renamed = {"what": "concept", "of": "quantity", "model": "observer"}  # noqa: RUF012
    pairs: Annotated[AbsolutePath, Option("Input", argument=True)]
    """Folder of pairs."""
    concept: Annotated[str, Option("Input")] = Field(min_length=1)
    """Name of a concept."""
    quantity: Annotated[Quantity, Option("Method")] = "area"
    """What is estimated: area (by masks), tiles that show it, or count (of objects)."""
    budget: Annotated[str, Option("Method")] = "5%"
    """Tiles to draw: 5%, 200."""
    confidence: Annotated[Share, Option("Method", default="95%")] = Field(0.95, gt=0, lt=1)
    """Confidence of the interval: 95% or 0.95."""
    observer: Annotated[ObserverFolder | None, Option("Model")] = None
    """Trained observer whose probabilities the draw is proportional to."""
    covariate: Annotated[AbsolutePath | None, Option("Method")] = None
    """Georeferenced raster that the draw is proportional to: night lights."""
    floor: Annotated[float, Option("Method")] = Field(FLOOR, gt=0, le=1)
    """Smallest inclusion probability, as a share of that of a uniform draw."""
    seed: int = Field(0, ge=0)
    """Seed of the draw."""
    device: str = "auto"
    """Device of the observer: auto, cpu, cuda, cuda:N or mps."""


@dataclass(frozen=True, eq=False)
class Design:
    """Which tile is drawn with which probability, and what is expected of it.

    Attributes:
        probabilities: (N,) above 0, to 1; their sum is the number of tiles to draw.
        expected: (N,) >= 0, in proportion to what each tile is thought to hold; None for no idea.
    """

    probabilities: NDArray[np.float64]
    expected: NDArray[np.float64] | None = None

    @property
    def n(self) -> int:
        """Number of tiles to draw."""
        return round(float(self.probabilities.sum()))

    def draw(self, seed: int, number: int = 0) -> NDArray[np.int64]:
        """Return (n,) rows, rising; another number is another draw under the same seed."""
        return draw(self.probabilities, rng(seed, f"observe/estimate/{number}"))

    def total(
        self, rows: NDArray[np.integer], values: ArrayLike, confidence: float = 0.95
    ) -> Estimate:
        """Estimate the total from the tiles that were drawn.

        Args:
            rows: (n,) which tiles.
            values: (n,) what they hold.
            confidence: Of the interval, 0 to 1.

        Raises:
            DataError: Values that are not finite, or not one a row.
            ParameterError: The confidence is impossible.
        """
        pi, y = self.probabilities[rows], finite(values, "values", (len(rows),))
        guessed = 0.0 if self.expected is None else float((self.expected[rows] / pi).sum())
        if self.expected is None or not guessed > 0:
            return total(y, pi, confidence=confidence)
        scale = float((y / pi).sum()) / guessed
        return total_difference(y, pi, rows, scale * self.expected, confidence=confidence)


def design(
    size: ArrayLike, n: int, *, expected: ArrayLike | None = None, floor: float = FLOOR
) -> Design:
    """Set the probabilities of a draw.

    Args:
        size: (N,) >= 0, to which probabilities are in proportion.
        n: Tiles to draw, 2 to N.
        expected: (N,) >= 0, in proportion to what each tile is thought to hold, or None.
        floor: Smallest probability as a share of n / N, above 0 up to 1 (an even draw).

    Raises:
        ParameterError: Too few or too many tiles, or an impossible floor.
        DataError: Sizes or expectations are negative or not finite.
    """
    s = finite(size, "sizes", (None,))
    if not _LEAST <= n <= s.size:
        raise ParameterError(
            f"{n} of {s.size} tiles to draw",
            f"An interval takes {_LEAST} or more, and there are no more than {s.size}.",
            "Use another --budget.",
        )
    if not 0 < floor <= 1:
        raise ParameterError(
            f"a floor of {floor}", "It is a share of an even draw, above 0 up to 1.", "--floor 0.3"
        )
    guess = None if expected is None else finite(expected, "expected values", s.shape)
    if guess is not None and (guess < 0).any():
        raise DataError(f"an expected value of {guess.min():g}", "There cannot be less than 0.")
    return Design(inclusion_probabilities(s, n, floor=floor * n / s.size), guess)


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
    """Draw tiles, look at them, and estimate the total of all.

    Args:
        size: (N,) >= 0, to which probabilities are in proportion.
        n: Tiles to draw.
        look: From (n,) rows to (n,) values; it is asked once, for the tiles that are drawn.
        expected: (N,) >= 0, in proportion to what each tile is thought to hold, or None.
        floor: See `design`.
        confidence: Of the interval, 0 to 1.
        seed: Of the draw.

    Raises:
        ParameterError: See `design`.
        DataError: Numbers that are not.

    >>> held = np.array([0.0, 3.0, 4.0, 5.0])
    >>> estimate([1, 3, 4, 5], 4, lambda rows: held[rows]).total
    12.0
    """
    plan = design(size, n, expected=expected, floor=floor)
    rows = plan.draw(seed)
    return plan.total(rows, look(rows), confidence)


@dataclass(frozen=True)
class Judged:
    """How estimates of many draws compare with the truth.

    Attributes:
        repeats: Number of draws.
        coverage: Share of the intervals that hold the truth.
        relative_error: Root mean square error over the truth; None where that is 0.
        bias: Mean error over the truth; None where that is 0.
        relative_width: Mean half width of the intervals over the truth; None where that is 0.
        mean_square_error: In the square of the unit.
    """

    repeats: int
    coverage: float
    relative_error: float | None
    bias: float | None
    relative_width: float | None
    mean_square_error: float


def judge(
    plan: Design, truth: ArrayLike, repeats: int, *, confidence: float = 0.95, seed: int = 0
) -> Judged:
    """Draw again and again where the truth is known.

    Args:
        plan: The design.
        truth: (N,) what each tile holds.
        repeats: Number of draws, from 1; the first is that of `estimate`.
        confidence: Of the intervals, 0 to 1.
        seed: Of the draws.

    Raises:
        ParameterError: No draws.
        DataError: The truth is not one finite number a tile.
    """
    if repeats < 1:
        raise ParameterError(f"{repeats} repeats", "There is one at least.", "--repeats 200")
    y = finite(truth, "true values", plan.probabilities.shape)
    whole, found = float(y.sum()), []
    for number in range(repeats):
        rows = plan.draw(seed, number)
        found.append(plan.total(rows, y[rows], confidence))
    error = np.array([e.total for e in found]) - whole
    width = np.array([e.high - e.low for e in found]) / 2
    # Summed in another order, a census is off by a rounding.
    slack = 1e-9 * abs(whole)
    held = [e.low - slack <= whole <= e.high + slack for e in found]
    square = float((error**2).mean())
    return Judged(
        repeats, float(np.mean(held)),
        *(v / whole if whole else None for v in (square**0.5, float(error.mean()))),
        float(width.mean()) / whole if whole else None, square,
    )  # fmt: skip


def compare(
    plan: Design, truth: ArrayLike, repeats: int, *, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Judge a design beside an even draw of as many tiles.

    Args:
        plan: The design.
        truth: (N,) what each tile holds.
        repeats: Number of draws of each.
        confidence: Of the intervals, 0 to 1.
        seed: Of the draws.

    Returns:
        "design" and "even": what `judge` says of them; "variance_ratio": the mean square error of
        the even draw over that of the design, more is better; None where the design has no error.
    """
    even = Design(np.full(len(plan.probabilities), plan.n / len(plan.probabilities)))
    ours, others = (
        judge(d, truth, repeats, confidence=confidence, seed=seed) for d in (plan, even)
    )
    ratio = others.mean_square_error / ours.mean_square_error if ours.mean_square_error else None
    return {"design": asdict(ours), "even": asdict(others), "variance_ratio": ratio}


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
        from foveate.observe.heads import lr_probabilities
        from foveate.observe.observer import Observer

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
