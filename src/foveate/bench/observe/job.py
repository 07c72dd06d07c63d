"""`BenchJob`: the conditions of a table seed by seed, a step each, then the table.

DIR/
work/KEY/seed-N/   networks and conditions of one setting, shared by all tables
tables/            NAME.json, NAME.csv, NAME.md
report.html        a page of all tables
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from foveate.errors import DataError, ParameterError
from foveate.files import digest, fingerprint
from foveate.models.extras import EXTRAS, need_extra
from foveate.observe.jobs import TrainJob
from foveate.observe.options import AUTO, check_folders
from foveate.run.options import Option

if TYPE_CHECKING:
    from foveate.observe.observer import Observer
    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn
    from foveate.run import Run

TableName = Literal[
    "main", "ablation", "supervision", "threshold", "predictor", "budget", "depth", "zeroshot",
    "pretraining",
]  # fmt: skip
VERSION = 1  # raised when the same job leads to other figures


class BenchJob(TrainJob):
    """A table of results: the pairs are divided and trained on anew for each seed."""

    absent = frozenset({"replace"})
    table: Annotated[TableName, Option("Method")] = "main"
    """Table: main, ablation, supervision, threshold, predictor, budget, depth, zeroshot or
    pretraining."""
    seeds: Annotated[int, Option("Method")] = Field(5, ge=1)
    """Number of seeds: splits and trainings."""
    draws: Annotated[int, Option("Method")] = Field(5, ge=1)
    """Random draws of tiles per seed, by the policy random."""
    seed: int = Field(0, ge=0)
    """The first seed."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        _refuse(self)

    def training(self, number: int) -> TrainJob:
        """Return the training of a seed."""
        stated = self.model_dump(mode="json", include=set(TrainJob.model_fields))
        given: dict[str, Any] = {**stated, "seed": self.seed + number}
        return TrainJob(**given)

    def check(self) -> Any:
        """Return the pairs and the observer to start from."""
        check_folders(self.pairs, self.init)
        need_extra(EXTRAS["observe"], "this benchmark")
        from foveate.observe.observer import Observer
        from foveate.observe.pairs import open_pairs

        self.check_models()
        start = Observer.load(self.init, device="cpu") if self.init is not None else None
        pairs = open_pairs(self.pairs)
        if not pairs.has_hr:
            raise DataError(
                "pairs without high resolution", "A benchmark needs both.", "Prepare them from HR."
            )
        return pairs, start

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Measure the conditions of the table under each seed, compare, and write the table."""
        from foveate.bench.compare import compare
        from foveate.bench.conditions import measure_conditions
        from foveate.bench.observe.measure import Seed, split_sizes
        from foveate.bench.observe.tables import TABLES
        from foveate.bench.observe.write import content
        from foveate.bench.write import save_table

        pairs, start = ready
        table = TABLES[self.table]
        rows = table.rows(self)
        key = bench_key(self, pairs, start)
        folder = f"work/{key[:8]}"

        def condition_key(condition: Any) -> str:
            return digest([
                VERSION, key, condition.name, self.architecture, self.supervision, self.draws,
                self.obr if condition.policy == "patchdrop" else None,
            ])  # fmt: skip

        def measures(number: int) -> Any:
            place = f"{folder}/seed-{self.seed + number}"
            return Seed(
                self, number, pairs, run, place, key=key, start=start, progress=progress
            ).measure

        results = measure_conditions(
            run, rows, measures, seeds=self.seeds, first=self.seed, title=self.table,
            folder=folder, key=condition_key, progress=progress,
        )  # fmt: skip
        found, lead = compare(table, rows, results, seed=self.seed)
        if table.derive is not None:
            found = table.derive(found)
        by_name = {f"{row.block}: {row.label}" if row.block else row.label: row for row in found}
        written = content(
            table, lead, found, name=self.table, seeds=self.seeds, obr=self.obr,
            lines=table.claims(self, by_name),
            split=split_sizes(pairs.groups, self.val, self.test, self.seed, self.seeds),
        )  # fmt: skip
        run.do(
            f"table {self.table}", digest([VERSION, key, written]),
            lambda: save_table(run.path, self.table, written),
        )  # fmt: skip
        return {"bench": written, "pool": pairs.pool.describe(), "seed": self.seed}


def bench_key(job: BenchJob, pairs: Pairs, start: Observer | None) -> str:
    """Hash of everything that all trainings under all seeds depend on, but for the seed.

    An observer to start from is a part of it: tokens are reduced as its weights expect them.
    """
    import numpy as np

    from foveate.files import digest_ids
    from foveate.observe.training import VERSION as TRAINING
    from foveate.observe.training import options_for_key

    apart = {
        "pairs", "device", "batch_size", "table", "seeds", "seed", "draws", "obr",
        "architecture", "supervision", "init",
    }  # fmt: skip
    prints = [
        [s.source.info.fingerprint for s in part] for part in (pairs.pool.scenes, pairs.overviews)
    ]
    files = (
        job.weights, job.lr_weights, job.target_weights, job.saliency_weights, job.text_weights,
    )  # fmt: skip
    known = None if pairs.shares is None else np.packbits(pairs.present()).tobytes().hex()
    return digest([
        VERSION, TRAINING, options_for_key(job, apart), prints,
        digest_ids(pairs.pool.ids), pairs.groups, [c.to_dict() for c in pairs.concepts], known,
        [_file_print(file) for file in files], None if start is None else start.record.training,
    ])  # fmt: skip


def _file_print(file: str | None) -> str | None:
    return fingerprint(file) if file is not None and Path(file).is_file() else file


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
            "Add --init OBSERVER.",
        )
    if job.table == "zeroshot" and job.text_model is None and job.model == "builtin":
        raise ParameterError(
            "--table zeroshot without a model that reads text",
            "The builtin model does not read text.",
            "Add --text-model MODEL; see foveate models.",
        )
