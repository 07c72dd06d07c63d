"""`BenchJob`: measures the conditions of a table, one step per seed, and writes the table.

DIR/
work/KEY/seed-N/   networks and results of one setting, shared by all tables
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
    from foveate.observe.data.pairs import Pairs
    from foveate.observe.observer import Observer
    from foveate.progress import ProgressFn
    from foveate.run import Run

TableName = Literal[
    "main", "ablation", "supervision", "threshold", "predictor", "budget", "depth", "zeroshot",
    "pretraining", "encoders",
]  # fmt: skip
NEIGHBOURS = ("predictor", "ablation", "pretraining")  # tables with the agreement of neighbours
VERSION = 2  # incremented when the figures of the same job change


def _datasets(given: Any) -> Any:
    """Parse ``NAME=DIR``."""
    if isinstance(given, dict):
        return {str(name): absolute(str(path)) for name, path in given.items()}
    parsed = assignments(given, "NAME=DIR", "eurosat=data/eurosat")
    return _datasets(parsed) if isinstance(parsed, dict) else parsed


Datasets = Annotated[dict[str, str], BeforeValidator(_datasets)]


class BenchJob(TrainJob):
    """Compare policies and completions on pairs, with a split and a training for each seed."""

    absent = frozenset({"replace"})
    table: Annotated[TableName, Option("Method")] = "main"
    """Table: main, ablation, supervision, threshold, predictor, budget, depth, zeroshot,
    pretraining or encoders."""
    seeds: Annotated[int, Option("Method")] = Field(5, ge=1)
    """Number of seeds, each with its own split and training."""
    draws: Annotated[int, Option("Method")] = Field(5, ge=1)
    """Random draws of tiles per seed, for the policy random."""
    top_k: Annotated[Bands, Option("Method", metavar="20,100")] = Field([20, 100], min_length=1)
    """Values of K for mAP@K over scenes."""
    scales: Annotated[str | None, Option("Input", metavar="FILE|python:MODULE:FUNCTION")] = None
    """Scale that each concept needs, lr or hr, for SAR; default: derived from its min_gsd."""
    covariate: Annotated[AbsolutePath | None, Option("Input")] = None
    """Raster for the policy covariate: night lights, population."""
    encoders: Annotated[AbsolutePath | None, Option("Input")] = None
    """File with the encoders of --table encoders, or the image-text models of --table zeroshot:
    NAME: MODEL, or NAME: {model: MODEL, weights: FILE}, for each row."""
    datasets: Annotated[Datasets, Option("Input", metavar="NAME=DIR", repeated=True)] = Field({})
    """Data sets of --table zeroshot with their folders: eurosat, bigearthnet or folders."""
    timed: Annotated[bool, Option("Method")] = True
    """Measure the time of the full pipeline."""
    seed: int = Field(0, ge=0)
    """The first seed."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        _check_options(self)

    def training(self, number: int) -> TrainJob:
        """Return the training job of a seed."""
        stated = self.model_dump(mode="json", include=set(TrainJob.model_fields))
        given: dict[str, Any] = {**stated, "seed": self.seed + number}
        return TrainJob(**given)

    def check(self) -> Any:
        """Return the pairs and the observer for the initial weights."""
        check_folders(self.pairs, self.init)
        need_extra(EXTRAS["observe"], "this benchmark")
        from foveate.observe.data.pairs import open_pairs
        from foveate.observe.observer import Observer

        self.check_models()
        start = Observer.load(self.init, device="cpu") if self.init is not None else None
        pairs = open_pairs(self.pairs)
        if not pairs.has_hr:
            raise DataError(
                "pairs without HR imagery", "A benchmark needs LR and HR.",
                "Prepare the pairs from HR imagery.",
            )  # fmt: skip
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
        compared, lead = compare(table, rows, results, seed=self.seed)
        if table.derive is not None:
            compared = table.derive(compared)
        by_name = {f"{row.block}: {row.label}" if row.block else row.label: row for row in compared}
        written = content(
            replace(table, columns=columns), lead, compared, name=self.table, seeds=self.seeds,
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
    """Return the hash of the dependencies of all trainings except the seed.

    It includes the observer of the initial weights, which determines the projection of tokens.
    """
    import numpy as np

    from foveate.files import digest_ids
    from foveate.observe.training.steps import VERSION as TRAINING
    from foveate.observe.training.steps import options_for_key

    excluded = {
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
    labels = None if pairs.shares is None else np.packbits(pairs.present()).tobytes().hex()
    return digest([
        VERSION, TRAINING, options_for_key(job, excluded), prints,
        digest_ids(pairs.pool.ids), pairs.groups, [c.to_dict() for c in pairs.concepts], labels,
        [_file_print(file) for file in files], None if start is None else start.record.training,
    ])  # fmt: skip


def _file_print(file: str | None) -> str | None:
    return fingerprint(file) if file is not None and Path(file).is_file() else file


def _check_pairs(job: BenchJob, pairs: Pairs) -> None:
    """Check that the pairs have the scenes and concepts that the table needs.

    Raises:
        ParameterError: K exceeds the number of test scenes, or scales or encoders are invalid.
        DataError: The table needs base and novel concepts, and one kind is missing.
    """
    from foveate.bench.observe.encoders import read_encoders
    from foveate.bench.observe.rivals import scale_decision
    from foveate.observe.completion.zero_shot import check_dataset
    from foveate.observe.data.pairs import split_scenes

    concepts = job.stated_concepts() or pairs.concepts
    if job.table == "zeroshot":
        novel = [concept.novel for concept in concepts]
        if all(novel) or not any(novel):
            raise DataError(
                f"--table zeroshot with concepts of which {'all' if any(novel) else 'none'} are "
                "novel",
                "It compares training concepts with held-out ones: both are required.",
                "Mark held-out concepts in a file, 'harbour: {novel: true}', and type "
                "--concepts FILE.",
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
                "mAP@K ranks the test scenes: K must be at most their number.",
                f"Type --top-k {min(tested)}, or a larger --test.",
            )


def _check_options(job: BenchJob) -> None:
    """Check the options against the table; not a validator, since pydantic would wrap the error.

    Raises:
        ParameterError: The options do not fit the table.
    """
    if job.supervision == AUTO:
        raise ParameterError(
            f"--supervision {AUTO} in a benchmark",
            "Each seed would select another supervision.",
            "Name one, or compare them with --table supervision.",
        )
    if not job.test:
        raise ParameterError(
            "a benchmark with --test 0",
            "A benchmark needs held-out test scenes.",
            "Type --test 0.2.",
        )
    if job.table == "encoders" and job.encoders is None:
        raise ParameterError(
            "--table encoders without --encoders",
            "--encoders is required: a file with the rows of the table.",
            "Type --table encoders --encoders FILE.",
        )
    if job.encoders is not None and job.table not in ("encoders", "zeroshot"):
        raise ParameterError(
            f"--encoders with --table {job.table}",
            "It is allowed with the tables encoders and zeroshot only.",
            "Type --table encoders --encoders FILE.",
        )
    if job.datasets and job.table != "zeroshot":
        raise ParameterError(
            f"--datasets with --table {job.table}",
            "It is allowed with the table zeroshot only.",
            f"Type --table zeroshot --datasets {next(iter(job.datasets))}=DIR.",
        )
    if job.table == "pretraining" and job.init is None:
        raise ParameterError(
            "--table pretraining without --init",
            "It compares the weights of a trained observer with random initial weights.",
            "Type --init OBSERVER.",
        )
    if job.table == "zeroshot" and job.text_model is None and job.model == "builtin":
        raise ParameterError(
            "--table zeroshot without a model that embeds text",
            "The builtin model does not embed text.",
            "Type --text-model MODEL; see foveate models.",
        )
