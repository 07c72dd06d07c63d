"""`BenchJob`: the conditions of a table seed by seed, a step each, then the table.

DIR/
work/KEY/seed-N/   networks and conditions of one setting, shared by all tables
tables/            NAME.json, NAME.csv, NAME.md
report.html        a page of all tables
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from foveate.errors import DataError, ParameterError
from foveate.files import digest, fingerprint
from foveate.location import absolute
from foveate.models.extras import EXTRAS, need_extra
from foveate.observe.jobs import TrainJob
from foveate.observe.options import AUTO, check_folders
from foveate.run.options import AbsolutePath, Bands, Option, assignments

if TYPE_CHECKING:
    from foveate.observe.observer import Observer
    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn
    from foveate.run import Run

TableName = Literal[
    "main", "ablation", "supervision", "threshold", "predictor", "budget", "depth", "zeroshot",
    "pretraining", "encoders",
]  # fmt: skip
NEIGHBOURS = ("predictor", "ablation", "pretraining")  # tables with the agreement of neighbours
VERSION = 2  # raised when the same job leads to other figures


def _datasets(given: Any) -> Any:
    """Read texts ``NAME=DIR``."""
    if isinstance(given, dict):
        return {str(name): absolute(str(path)) for name, path in given.items()}
    found = assignments(given, "NAME=DIR", "eurosat=data/eurosat")
    return _datasets(found) if isinstance(found, dict) else found


Datasets = Annotated[dict[str, str], BeforeValidator(_datasets)]


class BenchJob(TrainJob):
    """A table of results: the pairs are divided and trained on anew for each seed."""

    absent = frozenset({"replace"})
    table: Annotated[TableName, Option("Method")] = "main"
    """Table: main, ablation, supervision, threshold, predictor, budget, depth, zeroshot,
    pretraining or encoders."""
    seeds: Annotated[int, Option("Method")] = Field(5, ge=1)
    """Number of seeds: splits and trainings."""
    draws: Annotated[int, Option("Method")] = Field(5, ge=1)
    """Random draws of tiles per seed, by the policy random."""
    top_k: Annotated[Bands, Option("Method", metavar="20,100")] = Field([20, 100], min_length=1)
    """Depths K of mAP@K over scenes."""
    scales: Annotated[str | None, Option("Input", metavar="FILE|python:MODULE:FUNCTION")] = None
    """Scale that each concept needs, lr or hr, for SAR; by default by their min_gsd."""
    covariate: Annotated[AbsolutePath | None, Option("Input")] = None
    """Raster for the policy covariate: night lights, population."""
    encoders: Annotated[AbsolutePath | None, Option("Input")] = None
    """Encoders of --table encoders, and models of images and texts of --table zeroshot: a file
    with NAME: MODEL, or NAME: {model: MODEL, weights: FILE}, for each row."""
    datasets: Annotated[Datasets, Option("Input", metavar="NAME=DIR", repeated=True)] = Field({})
    """Data sets of --table zeroshot: eurosat, bigearthnet or folders, and where each lies."""
    timed: Annotated[bool, Option("Method")] = True
    """Whether to measure the time of the full pipeline."""
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
        _check_pairs(self, pairs)
        return pairs, start

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Measure the conditions of the table under each seed, compare, and write the table."""
        from foveate.bench.compare import compare
        from foveate.bench.conditions import measure_conditions
        from foveate.bench.observe.measure import Seed, split_sizes
        from foveate.bench.observe.tables import TABLES
        from foveate.bench.observe.write import columns_of, content
        from foveate.bench.write import save_table
        from foveate.models.runtime import resolve_device

        pairs, start = ready
        table = TABLES[self.table]
        rows = table.rows(self)
        key = bench_key(self, pairs, start)
        folder = f"work/{key[:8]}"

        def condition_key(condition: Any) -> str:
            return digest([
                VERSION, key, condition.name, self.architecture, self.supervision, self.draws,
                self.obr if condition.policy == "patchdrop" else None,
                self.top_k, self.timed, self.table in NEIGHBOURS,
                self.obr if condition.completion == "tuned" else None,
                [_file_print(f) for f in (self.scales, self.covariate, self.encoders)],
                sorted(self.datasets.items()),
            ])  # fmt: skip

        columns = columns_of(table.columns, self.top_k, timed=self.timed)

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
            replace(table, columns=columns), lead, found, name=self.table, seeds=self.seeds,
            obr=self.obr,
            lines=table.claims(self, by_name),
            split=split_sizes(pairs.groups, self.val, self.test, self.seed, self.seeds),
            timed=(self.batch_size, str(resolve_device(self.device))) if self.timed else None,
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
        "architecture", "supervision", "init", "top_k", "scales", "covariate", "encoders", "timed",
        "datasets",
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


def _check_pairs(job: BenchJob, pairs: Pairs) -> None:
    """Refuse a table that these pairs have not the scenes or the concepts for.

    Raises:
        ParameterError: K is over the number of test scenes; scales or encoders are not those of
            the pairs.
        DataError: Base and novel concepts are asked for, and there are none of one kind.
    """
    from foveate.bench.observe.encoders import read_encoders
    from foveate.bench.observe.rivals import scale_decision
    from foveate.observe.pairs import split_scenes
    from foveate.observe.zero_shot import check_dataset

    concepts = job.stated_concepts() or pairs.concepts
    if job.table == "zeroshot":
        novel = [concept.novel for concept in concepts]
        if all(novel) or not any(novel):
            raise DataError(
                f"--table zeroshot for concepts of which {'all' if any(novel) else 'none'} are "
                "novel",
                "It compares concepts that a training knows with concepts that it does not.",
                "Mark held-out ones in a file, 'harbour: {novel: true}', and type --concepts FILE.",
            )
    if job.scales is not None:
        scale_decision(job.scales, concepts, None)
    if job.encoders is not None:
        read_encoders(job.encoders)
    for name, root in job.datasets.items():
        check_dataset(name, root)
    if job.top_k != type(job).model_fields["top_k"].get_default():
        tested = [
            int((split_scenes(
                pairs.groups, val=job.val, test=job.test, seed=job.seed + i
            ) == "test").sum())
            for i in range(job.seeds)
        ]  # fmt: skip
        if max(job.top_k) > min(tested):
            raise ParameterError(
                f"--top-k {max(job.top_k)} with {min(tested)} test scenes",
                "mAP@K ranks the test scenes: K is their number at most.",
                f"--top-k {min(tested)}, or a larger --test.",
            )


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
    if job.table == "encoders" and job.encoders is None:
        raise ParameterError(
            "--table encoders without --encoders",
            "The rows of the table encoders are those of a file.",
            "--table encoders --encoders FILE",
        )
    if job.encoders is not None and job.table not in ("encoders", "zeroshot"):
        raise ParameterError(
            f"--encoders for --table {job.table}",
            "Encoders alone are rows of the tables encoders and zeroshot.",
            "--table encoders --encoders FILE",
        )
    if job.datasets and job.table != "zeroshot":
        raise ParameterError(
            f"--datasets for --table {job.table}",
            "Data sets are columns of the table zeroshot.",
            f"--table zeroshot --datasets {next(iter(job.datasets))}=DIR",
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
