"""What is measured: cells. Tables are made of them, so tables share what they have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from foveate.bench.compare import Found
    from foveate.bench.settings import BenchJob

Verdict = Literal["better", "worse", "tied", "open", "reference", ""]
CURVE = (0.02, 0.05, 0.12, 0.25, 0.5)  # observed shares, over which areas are taken
SHARES = (0.05, 0.12, 0.3)  # observed shares of the tables of completion


class Skipped(Exception):  # noqa: N818  (nothing is wrong)
    """A cell cannot be measured here; the text says why, and what to do."""


@dataclass(frozen=True)
class Cell:
    """One measurement, under each seed: what was observed, and how it was completed.

    Attributes:
        policy: Who chose the tiles: a policy of `observe`; "none" or "all"; "learned:FORM", the
            sampler of a form of supervision; "tau=TAU", all tiles above a threshold.
        share: Observed share of the tiles; 0 where the policy says it.
        way: How the rest was completed: "none", "nearest", "fill", "conv" (convolutional fill),
            "kriging", "ours", "full"; "form:NAME" and "depth:N", predictors of their own; "init",
            "ours" trained from the weights of another observer; "head", concept classifiers on
            LR tokens, without any completion.
    """

    policy: str
    share: float
    way: str

    @property
    def name(self) -> str:
        """How steps and files are named after it."""
        return f"{self.policy}@{self.share:g} {self.way}"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        label: What it is called.
        cells: One; or one for each share of `CURVE`, for an area under a curve.
        block: Rows of a block are compared with each other.
    """

    label: str
    cells: tuple[Cell, ...]
    block: str = ""


@dataclass(frozen=True)
class Line:
    """Something that a table says.

    Attributes:
        text: In words, with the figures.
        reached: Whether what was hoped for came true, beyond the noise; None where nothing was
            hoped for, where no interval tells, or where it could not have failed.
        verdict: Of the comparison that it is about, for the one that is hoped to be ahead; "equal"
            where all rows are alike in it, so that it could not have failed; "" for others.
    """

    text: str
    reached: bool | None = None
    verdict: Verdict | Literal["equal"] = ""


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        title: For people.
        lead: The measure by which rows are compared.
        columns: Measures that are shown.
        rows: Its rows, for a job.
        references: Labels of rows that the others of a block are compared with: of several the one
            that has more of the leading measure, so that the choice is in its favour.
        says: What follows from the figures, by rule; it gets the rows by "BLOCK: LABEL", or by
            their label where there are no blocks.
        derive: Adds figures that are made of several rows, or None.
        note: What a reader has to know.
    """

    title: str
    lead: str
    columns: tuple[str, ...]
    rows: Callable[[BenchJob], list[Row]]
    references: tuple[str, ...]
    says: Callable[[BenchJob, Mapping[str, Found]], list[Line]]
    derive: Callable[[list[Found]], list[Found]] | None = None
    note: str = ""


def curve(policy: str, way: str) -> tuple[Cell, ...]:
    """Return the cells of a curve over observed shares."""
    return tuple(Cell(policy, share, way) for share in CURVE)
