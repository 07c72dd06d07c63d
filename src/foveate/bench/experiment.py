"""The job of a benchmark: the cells of a table seed by seed, a step each, then the table.

    DIR/
      work/KEY/seed-N/   networks and cells of one setting, shared by all tables
      tables/            NAME.json, NAME.csv, NAME.md
      report.html        a page of all tables

Each cell has a file: a run that was killed goes on with the next cell, and another table of the
same setting uses what is there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.bench.cells import Cell, Skipped
from foveate.bench.compare import compare
from foveate.bench.tables import TABLES
from foveate.bench.write import content, write
from foveate.errors import DataError
from foveate.files import as_json, digest, digest_ids, fingerprint, read_json, write_bytes
from foveate.models.extras import requires
from foveate.observe.measure import Measure
from foveate.observe.observer import Observer
from foveate.observe.pairs import open_pairs
from foveate.observe.splits import split_scenes
from foveate.observe.train import VERSION as TRAINING
from foveate.progress import Meter
from foveate.run import Run
from foveate.run.shards import slug

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from foveate.bench.cells import Row
    from foveate.bench.settings import BenchJob
    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn

VERSION = 1  # raised when the same job leads to other figures


@requires("observe", "this benchmark")
def run(
    job: BenchJob,
    out: str | Path,
    *,
    command: str = "",
    report: Callable[[Path], Path] | None = None,
    progress: ProgressFn | None = None,
) -> Run:
    """Do the benchmark.

    Args:
        job: What to measure.
        out: Run directory: new, empty, or an earlier one to go on with.
        command: The command that repeats the job, for the record.
        report: Draws a page of the run directory into it and returns the file: `write_report`.
        progress: Called with ticks.

    Returns:
        The closed run; the table is in ``out/tables``, and in the summary of its record.

    Raises:
        FoveateError: Anything that is wrong with the input; what was measured before is kept.
    """
    job.check_models()
    start = Observer.load(job.init, device="cpu") if job.init is not None else None
    pairs = open_pairs(job.pairs)
    if not pairs.has_hr:
        raise DataError(
            "pairs without high resolution", "A benchmark needs both.", "Prepare them from HR."
        )
    table = TABLES[job.table]
    rows = table.rows(job)
    with Run.create(out, job=job.model_dump(mode="json"), command=command) as opened:
        work = _Work(job, opened, pairs, start, progress)
        results = work.results(rows)
        found, lead = compare(table, rows, results, seed=job.seed)
        if table.derive is not None:
            found = table.derive(found)
        by_name = {f"{row.block}: {row.label}" if row.block else row.label: row for row in found}
        lines = table.says(job, by_name)
        written = content(job, table, lead, found, lines=lines, split=work.split())
        key = digest([VERSION, work.key, written])
        opened.do(
            f"table {job.table}", key,
            lambda: [
                str(path.relative_to(opened.path))
                for path in write(opened.path / "tables", job.table, written)
            ],
        )  # fmt: skip
        opened.describe(summary={"bench": written, "pool": pairs.pool.describe(), "seed": job.seed})
        if report is not None:
            opened.draw("report", lambda: [str(report(opened.path).relative_to(opened.path))])
    return opened


class _Work:
    """The job in progress."""

    def __init__(
        self, job: BenchJob, opened: Run, pairs: Pairs, start: Observer | None,
        progress: ProgressFn | None,
    ) -> None:  # fmt: skip
        self.job, self.run, self.pairs, self._start = job, opened, pairs, start
        self._progress = progress
        self.key = _key(job, pairs, start)

    def split(self) -> dict[str, int]:
        """Return how many groups and scenes are tested under each seed."""
        groups = self.pairs.groups
        job = self.job
        parts = [
            split_scenes(groups, val=job.val, test=job.test, seed=job.seed + i) == "test"
            for i in range(job.seeds)
        ]
        return {
            "scenes": round(float(np.mean([part.sum() for part in parts]))),
            "groups": len(
                {g for part in parts for g, own in zip(groups, part, strict=True) if own}
            ),
        }

    def results(self, rows: list[Row]) -> list[dict[Cell, dict[str, Measure] | str]]:
        """Measure the cells of some rows under each seed."""
        cells = list(dict.fromkeys(cell for row in rows for cell in row.cells))
        with Meter(self._progress, "measuring", self.job.seeds * len(cells)) as meter:
            return [self._seed(number, cells, meter) for number in range(self.job.seeds)]

    def _seed(
        self, number: int, cells: list[Cell], meter: Meter
    ) -> dict[Cell, dict[str, Measure] | str]:
        from foveate.bench.seed import Seed

        folder = f"work/{self.key[:8]}/seed-{self.job.seed + number}"
        seed = Seed(
            self.job, number, self.pairs, self.run, folder, key=self.key, start=self._start,
            progress=self._progress,
        )  # fmt: skip
        files = {
            cell: f"{folder}/cells/{slug(cell.name)}-{self._key(cell)[:8]}.json" for cell in cells
        }

        def work() -> list[str]:
            for cell, file in files.items():
                self._cell(seed, cell, self.run.path / file)
                meter.advance()
            return list(files.values())

        step = f"measure {self.job.table} {folder}"
        if not self.run.do(step, digest(list(files.values())), work):
            meter.advance(len(cells))
        return {cell: _read(self.run.path / file) for cell, file in files.items()}

    def _cell(self, seed: Any, cell: Cell, file: Path) -> None:
        """Measure a cell unless it was, for another table or before a kill."""
        if file.exists():
            return
        try:
            stored = {"measures": seed.measure(cell)}
        except Skipped as reason:
            stored = {"skipped": str(reason)}
        # Measured again in a second: not worth waiting for the disk.
        write_bytes(file, (json.dumps(as_json(stored)) + "\n").encode(), durable=False)

    def _key(self, cell: Cell) -> str:
        """Hash of everything that a cell depends on, but for the seed."""
        job = self.job
        return digest([
            VERSION, self.key, cell.name, job.form, job.supervision, job.draws,
            job.obr if cell.policy == "patchdrop" else None,
        ])  # fmt: skip


def _read(path: Path) -> dict[str, Measure] | str:
    stored = read_json(path)
    if "skipped" in stored:
        return stored["skipped"]
    return {
        name: Measure(
            float("nan") if m["value"] is None else m["value"],
            [float("nan") if x is None else x for x in m["parts"]],
            m["groups"],
        )
        for name, m in stored["measures"].items()
    }


def _key(job: BenchJob, pairs: Pairs, start: Observer | None) -> str:
    """Hash of everything that all trainings under all seeds depend on, but for the seed.

    An observer to start from is a part of it: tokens are reduced as its weights expect them.
    """
    apart = {
        "pairs", "device", "batch_size", "table", "seeds", "seed", "draws", "obr",
        "form", "supervision", "init",
    }  # fmt: skip
    prints = [
        [s.source.info.fingerprint for s in part] for part in (pairs.pool.scenes, pairs.overviews)
    ]
    files = (
        job.weights, job.lr_weights, job.target_weights, job.saliency_weights, job.text_weights,
    )  # fmt: skip
    known = None if pairs.shares is None else np.packbits(pairs.present()).tobytes().hex()
    return digest([
        VERSION, TRAINING, job.model_dump(mode="json", exclude=apart), prints,
        digest_ids(pairs.pool.ids), pairs.groups, [c.to_dict() for c in pairs.concepts], known,
        [_print(file) for file in files], None if start is None else start.record.training,
    ])  # fmt: skip


def _print(file: str | None) -> str | None:
    from pathlib import Path

    return fingerprint(file) if file is not None and Path(file).is_file() else file
