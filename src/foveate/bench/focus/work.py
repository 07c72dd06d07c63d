"""Measurement, comparison and writing of a table of `bench focus` in a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from foveate.bench.compare import compare
from foveate.bench.conditions import measure_conditions
from foveate.bench.focus.measure import BY_AREA
from foveate.bench.focus.tables import stages_of
from foveate.bench.focus.write import cells, content, few_of_a_kind, save
from foveate.files import digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from foveate.bench.compare import Results
    from foveate.bench.conditions import MeasureFn, Row, Table
    from foveate.bench.focus.conditions import Condition
    from foveate.bench.focus.job import FocusBenchJob
    from foveate.bench.focus.tables import Plan
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 1  # incremented when the figures of the same job change


@dataclass(frozen=True)
class Work:
    """Measures the rows of a table, and writes it.

    Attributes:
        job: The job.
        run: Run, open for writing.
        plan: Content of the table.
        table: The table.
        key: Hash of the dependencies of all conditions except the seed.
        measures: Maps conditions, a seed and a folder to the function that measures a condition.
        scenes: Number of scenes under each seed.
        drawn: Whether each seed draws other scenes.
        progress: Called with ticks.
    """

    job: FocusBenchJob
    run: Run
    plan: Plan
    table: Table
    key: str
    measures: Callable[[list[Condition], int, Path], MeasureFn]
    scenes: int
    drawn: bool
    progress: ProgressFn | None

    def measure(self, rows: list[Row]) -> Results:
        """Measure rows under each seed, and write the table after each seed."""
        job, folder = self.job, f"work/{self.key[:8]}"
        conditions = list(dict.fromkeys(c for row in rows for c in row.conditions))
        staged = f", {len(rows)} rows" if stages_of(job.table) else ""

        def measures(number: int) -> MeasureFn:
            seed = job.seed + number
            return self.measures(conditions, seed, self.run.path / folder / f"seed-{seed}")

        results: Results = []
        for count in range(1, job.seeds + 1):
            results = measure_conditions(
                self.run, rows, measures, seeds=count, first=job.seed, title=job.table + staged,
                folder=folder, key=lambda c: digest([self.key, c.name]), progress=self.progress,
            )  # fmt: skip
            if count < job.seeds:
                partial = self.content(rows, results)
                partial["cautions"].insert(0, f"{count} of {job.seeds} seeds so far.")
                save(self.run.path, job.table, partial)
        return results

    def content(self, rows: list[Row], results: Results) -> dict[str, Any]:
        """Return the table, JSON-ready."""
        job = self.job
        compared, lead = compare(self.table, rows, results, seed=job.seed)
        if self.table.derive is not None:
            compared = self.table.derive(compared)
        by_name = {f"{row.block}: {row.label}" if row.block else row.label: row for row in compared}
        table = content(
            self.table, compared, rows, self.plan, name=job.table, seeds=len(results), lead=lead,
            scenes=self.scenes, drawn=self.drawn, lines=self.table.claims(self.plan, by_name),
        )  # fmt: skip
        table["by_kind"] = self._by_kind(rows, results)
        table["cautions"] = table["cautions"] or few_of_a_kind(table["by_kind"])
        table["by_area"] = self._by_area(rows, results)
        table["cells"] = cells(rows, results, self.plan, table=job.table, first=job.seed)
        return table

    def _by_kind(self, rows: list[Row], results: Results) -> dict[str, Any]:
        """Compare the rows on the scenes of each kind separately."""
        kinds = {}
        for kind in self.plan.kinds if len(self.plan.kinds) > 1 else ():
            lead = f"{self.table.lead}: {kind}"
            compared, _ = compare(replace(self.table, lead=lead), rows, results, seed=self.job.seed)
            if any(lead in row.means for row in compared):
                kinds[kind] = {"lead": lead, "rows": [asdict(r) for r in compared if not r.skipped]}
        return kinds

    def _by_area(self, rows: list[Row], results: Results) -> dict[str, Any] | None:
        """Compare the rows with one value per area; None if areas are not known."""
        table = replace(self.table, lead=BY_AREA)
        compared, lead = compare(table, rows, results, seed=self.job.seed)
        if lead != BY_AREA:
            return None
        return {"lead": lead, "rows": [asdict(r) for r in compared if not r.skipped]}

    def finish(self, rows: list[Row], results: Results) -> None:
        """Write the final table, unless the run has it."""
        table = self.content(rows, results)

        def work() -> list[str]:
            return save(self.run.path, self.job.table, table)

        if not self.run.do(f"table {self.job.table}", digest([VERSION, self.key, table]), work):
            work()  # overwrites the table of the first seeds
