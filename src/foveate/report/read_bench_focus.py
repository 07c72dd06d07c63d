"""Reader of runs of `bench focus`, for their reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from foveate.files import read_json
from foveate.report.read import PoolData
from foveate.report.read_observe import BenchTable, TableRow, read_table, unfinished
from foveate.run import Run

_STRICT = ConfigDict(strict=True, extra="ignore")


@checked(frozen=True, config=_STRICT)
class Paper:
    """Figures of the paper for a table."""

    source: str  # table and data of the paper
    columns: list[str]
    rows: dict[str, list[float | str]]  # label -> figures


@checked(frozen=True, config=_STRICT)
class OfKind:
    """The rows of a table, compared on the scenes of one kind."""

    lead: str  # measure by which rows are compared
    rows: list[TableRow]


@checked(frozen=True, config=_STRICT)
class FocusTable(BenchTable):
    """A table of `bench focus`."""

    models: list[str] = Field(default_factory=list)
    sets: list[str] = Field(default_factory=list)  # names of the sets of scenes
    kinds: list[str] = Field(default_factory=list)  # kinds of scenes
    passes: dict[str, float | None] = Field(default_factory=dict)  # row -> budget; None: no limit
    paper: Paper | None = None
    by_kind: dict[str, OfKind] = Field(default_factory=dict)
    by_area: OfKind | None = None  # with one value per folder of scenes


@dataclass(frozen=True, kw_only=True)
class FocusBenched(PoolData):
    """A run of `bench focus`.

    Attributes:
        tables: Existing tables, that of the last command first.
    """

    tables: list[FocusTable] = field(default_factory=list)


def read_bench_focus(run_dir: str) -> FocusBenched:
    """Read a run of `bench focus`.

    Raises:
        DataError: There is no run, it is not finished, or a table is damaged.
    """
    run = Run.load(run_dir)
    last = run.record["summary"]["bench_focus"]["table"]
    entries = {file.stem: read_json(file) for file in sorted((run.path / "tables").glob("*.json"))}
    tables = [
        read_table(FocusTable, name, entry, "foveate bench focus")
        for name, entry in entries.items()
        if isinstance(entry, dict) and entry.get("table") == name
    ]
    tables.sort(key=lambda table: table.name != last)
    if not tables or tables[0].name != last:
        raise unfinished(run, f"no table {last!r}")
    return FocusBenched(
        name=run.path.resolve().name, record=run.record, tables=tables,
        encoder=run.record["summary"].get("model"),
    )  # fmt: skip
