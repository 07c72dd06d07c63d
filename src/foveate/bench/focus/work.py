"""A table of `bench focus` in a run: its rows are measured, compared and written."""

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

VERSION = 1  # raised when the same job leads to other figures


@dataclass(frozen=True)
class Work:
    """Measures rows of a table, and writes it.

    Attributes:
        job: What was asked for.
        run: Open for writing.
        plan: What the table is made for.
        table: The table.
        key: Hash of everything that all conditions depend on, but for the seed.
        measures: From conditions, a seed and a folder to what measures one of them.
        scenes: Number of scenes under each seed.
        drawn: Whether they are others under each.
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
        """Measure rows under each seed; the table fills as it runs."""
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
                made = self.content(rows, results)
                made["cautions"].insert(0, f"{count} of {job.seeds} seeds so far.")
                save(self.run.path, job.table, made)
        return results

    def content(self, rows: list[Row], results: Results) -> dict[str, Any]:
        """Return the table, JSON-ready."""
        job = self.job
        found, lead = compare(self.table, rows, results, seed=job.seed)
        if self.table.derive is not None:
            found = self.table.derive(found)
        by_name = {f"{row.block}: {row.label}" if row.block else row.label: row for row in found}
        made = content(
            self.table, found, rows, self.plan, name=job.table, seeds=len(results), lead=lead,
            scenes=self.scenes, drawn=self.drawn, lines=self.table.claims(self.plan, by_name),
        )  # fmt: skip
        made["by_kind"] = self._by_kind(rows, results)
        made["cautions"] = made["cautions"] or few_of_a_kind(made["by_kind"])
        made["by_area"] = self._by_area(rows, results)
        made["cells"] = cells(rows, results, self.plan, table=job.table, first=job.seed)
        return made

    def _by_kind(self, rows: list[Row], results: Results) -> dict[str, Any]:
        """Compare the rows on the scenes of each kind alone: another may win on each."""
        found = {}
        for kind in self.plan.kinds if len(self.plan.kinds) > 1 else ():
            lead = f"{self.table.lead}: {kind}"
            own, _ = compare(replace(self.table, lead=lead), rows, results, seed=self.job.seed)
            if any(lead in row.means for row in own):
                found[kind] = {"lead": lead, "rows": [asdict(r) for r in own if not r.skipped]}
        return found

    def _by_area(self, rows: list[Row], results: Results) -> dict[str, Any] | None:
        """Compare the rows with one value for each area; None where areas are not known."""
        own, lead = compare(replace(self.table, lead=BY_AREA), rows, results, seed=self.job.seed)
        if lead != BY_AREA:
            return None
        return {"lead": lead, "rows": [asdict(r) for r in own if not r.skipped]}

    def finish(self, rows: list[Row], results: Results) -> None:
        """Write the table, unless the run has it."""
        made = self.content(rows, results)

        def work() -> list[str]:
            return save(self.run.path, self.job.table, made)

        if not self.run.do(f"table {self.job.table}", digest([VERSION, self.key, made]), work):
            work()  # over the table of the first seeds
