"""`BenchJob`: the only configuration of a benchmark of `observe`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from foveate.errors import ParameterError
from foveate.observe.settings import AUTO, TrainJob

TableName = Literal[
    "main", "ablation", "supervision", "threshold", "predictor", "budget", "depth", "zeroshot",
    "pretraining",
]  # fmt: skip


class BenchJob(TrainJob):
    """A training, its pairs divided and trained on anew for each seed, and a table of results.

    Attributes:
        table: Which table.
        seeds: Number of seeds, from `seed` on.
        draws: Of the policy "random", under each seed.
    """

    absent = frozenset({"replace"})
    table: TableName
    seeds: int = Field(5, ge=1)
    draws: int = Field(5, ge=1)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        _refuse(self)

    def training(self, number: int) -> TrainJob:
        """Return the training of a seed."""
        stated = self.model_dump(mode="json", include=set(TrainJob.model_fields))
        given: dict[str, Any] = {**stated, "seed": self.seed + number}
        return TrainJob(**given)


def _refuse(job: BenchJob) -> None:
    """Refuse what cannot be measured; not a validator, for pydantic would wrap the words.

    Raises:
        ParameterError: It cannot be.
    """
    if job.supervision == AUTO:
        raise ParameterError(
            f"--supervision {AUTO} in a benchmark",
            "Each seed would choose another one.",
            "Name one; --table supervision compares them all.",
        )
    if not job.test:
        raise ParameterError(
            "a benchmark with --test 0",
            "Scenes are needed that nothing was fitted to.",
            "--test 0.2",
        )
    if job.table == "pretraining" and job.init is None:
        raise ParameterError(
            "--table pretraining without a trained observer",
            "It compares a start from one with a start from random weights.",
            "Add --init MODEL.",
        )
    if job.table == "zeroshot" and job.text is None and job.model == "builtin":
        raise ParameterError(
            "--table zeroshot without a model that reads texts",
            "The builtin model has no words.",
            "Add --text MODEL; see foveate models.",
        )
