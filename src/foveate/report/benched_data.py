"""What the tables of a run of `foveate bench observe` hold, read into plain values.

Several tables share one run; each says by itself over which seeds and scenes it was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from foveate.errors import DataError
from foveate.files import read_json
from foveate.report.data import PoolData
from foveate.report.stage import number
from foveate.report.words.bench import Claim
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ORDER = (
    "main", "ablation", "supervision", "threshold", "predictor", "budget", "depth", "zeroshot",
    "pretraining",
)  # fmt: skip  # as the benchmark lists them
VERDICTS = ("better", "worse", "tied", "open", "reference")


class Interval(NamedTuple):
    """A difference with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        label: What it is called.
        block: Rows of a block are compared with each other.
        means: Measure -> mean over seeds; NaN where there is none.
        reference: Label of the row that it is compared with; empty for none.
        gap: Difference to that row in the leading measure; None for none.
        p: Holm's p-value; NaN for none.
        verdict: One of `VERDICTS`, or "".
    """

    label: str
    block: str
    means: dict[str, float]
    reference: str
    gap: Interval | None
    p: float
    verdict: str


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        name: As ``--table`` has it.
        title: For people.
        lead: The measure by which rows are compared.
        columns: Measures that are shown.
        titles: Measure -> its name for people.
        seeds: Splits and trainings.
        obr: Observed share, where the table has one.
        scenes: Test scenes, under each seed.
        groups: Groups of them, under all seeds together.
        clusters: Groups that the intervals rest on.
        how: How differences and verdicts come about.
        note: What a reader has to know of this table.
        cautions: What makes the figures weak.
        rows: Its rows.
        left_out: Rows that were not measured -> why.
        says: What it says.
    """

    name: str
    title: str
    lead: str
    columns: list[str]
    titles: dict[str, str]
    seeds: int
    obr: float
    scenes: int
    groups: int
    clusters: int
    how: str
    note: str
    cautions: list[str]
    rows: list[Row]
    left_out: dict[str, str]
    says: list[Claim]


@dataclass(frozen=True)
class Benched(PoolData):
    """A bench run; it keeps no tiles of its own.

    Attributes:
        tables: Those that are there, as the benchmark lists them; unknown ones last.
        last: Name of the one that the record is of.
    """

    tables: list[Table]
    last: str


def read_benched(run_dir: str | Path) -> Benched:
    """Read a bench run.

    Raises:
        DataError: There is no run, it is not finished, or a table is damaged.
    """
    run = Run.load(run_dir)
    root = run.path.resolve()
    summary = run.record.get("summary", {})
    _check_record(run)
    about = summary.get("bench")
    last = about.get("table") if isinstance(about, dict) else None
    files = sorted((root / "tables").glob("*.json"), key=lambda file: _place(file.stem))
    # Another job may have left a table in the folder: the benchmark's say what they are.
    found = {file.stem: read_json(file) for file in files}
    tables = [_table(name, entry) for name, entry in found.items() if _own(name, entry)]
    if last not in [table.name for table in tables]:
        raise DataError(
            f"the run {str(run.path)!r} is not finished: it has no table {last!r}",
            "A report needs the tables that the last step of a run writes.",
            "Start the same command again: it goes on where it stopped.",
        )
    return Benched(
        name=root.name, record=run.record, ids=[], scene=np.zeros(0, np.int64), scenes=[],
        excluded={}, encoder=None, tile_files={}, scene_files={}, tables=tables, last=str(last),
    )  # fmt: skip


def _check_record(run: Run) -> None:
    """Refuse a record whose parts are of another kind.

    Raises:
        DataError: It is damaged.
    """
    record = run.record
    steps = record.get("steps", {})
    each = steps if isinstance(steps, dict) else {}
    parts = {
        "job": record.get("job", {}), "environment": record.get("environment", {}),
        "summary.pool": record["summary"].get("pool", {}), "steps": steps,
        **{f"steps[{name!r}]": step for name, step in each.items()},
    }  # fmt: skip
    wrong = [name for name, part in parts.items() if not isinstance(part, dict)]
    if wrong:
        raise DataError(
            f"the record of the run {str(run.path)!r} is damaged: {wrong[0]} is no table of names",
            "It was cut off, edited, or written by another version of foveate.",
            "Run the job again into a new folder.",
        )


def _place(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def _own(name: str, entry: object) -> bool:
    return name in ORDER or (isinstance(entry, dict) and entry.get("table") == name)


def _table(name: str, entry: object) -> Table:
    own = _Entry(name, "", entry)
    test = own.part("test")
    return Table(
        name=name,
        title=own.text("title"),
        lead=own.text("lead"),
        columns=own.texts("columns"),
        titles=own.words("titles"),
        seeds=own.count("seeds"),
        obr=own.figure("obr"),
        scenes=test.count("scenes"),
        groups=test.count("groups"),
        clusters=own.count("clusters"),
        how=own.text("how"),
        note=own.text("note"),
        cautions=own.texts("cautions", optional=True),
        rows=[_row(row) for row in own.parts("rows")],
        left_out=own.words("left_out"),
        says=[
            Claim(line.text("text"), line.reached(), line.optional("verdict"))
            for line in own.parts("says")
        ],
    )


def _row(own: _Entry) -> Row:
    verdict = own.text("verdict")
    return Row(
        label=own.text("label"),
        block=own.text("block"),
        means=own.figures("means"),
        reference=own.text("reference"),
        gap=_gap(own),
        p=own.figure("p"),
        verdict=verdict if verdict in VERDICTS else "",
    )


def _gap(own: _Entry) -> Interval | None:
    if own.value("difference") is None:
        return None
    gap = own.part("difference")
    found = Interval(*(gap.figure(key) for key in Interval._fields))
    return found if all(map(math.isfinite, found)) else None


class _Entry:
    """A part of a table as it was read; what is missing or of another kind is an error."""

    def __init__(self, table: str, where: str, entry: object) -> None:
        self._table, self._where = table, where
        self._own: Mapping[str, Any] = entry if isinstance(entry, dict) else self._fail("", entry)

    def value(self, key: str) -> Any:
        if key not in self._own:
            raise _damaged(self._table, f"no {self._name(key)}")
        return self._own[key]

    def text(self, key: str) -> str:
        return self._of(key, str)

    def optional(self, key: str) -> str:
        """Return a text that tables of earlier versions lack."""
        return self.text(key) if key in self._own else ""

    def count(self, key: str) -> int:
        return self._of(key, int)

    def figure(self, key: str) -> float:
        """Return a number; NaN for null."""
        value = self.value(key)
        return math.nan if value is None else number(self._of(key, int | float))

    def texts(self, key: str, *, optional: bool = False) -> list[str]:
        if optional and key not in self._own:
            return []
        found = self._of(key, list)
        return found if all(isinstance(v, str) for v in found) else self._fail(key, found)

    def words(self, key: str) -> dict[str, str]:
        """Return names with texts; none where there is no such part."""
        found = self._of(key, dict) if key in self._own else {}
        return found if all(isinstance(v, str) for v in found.values()) else self._fail(key, found)

    def figures(self, key: str) -> dict[str, float]:
        """Return names with numbers."""
        part = self.part(key)
        return {name: part.figure(name) for name in self._of(key, dict)}

    def part(self, key: str) -> _Entry:
        return _Entry(self._table, self._name(key), self._of(key, dict))

    def parts(self, key: str) -> list[_Entry]:
        return [
            _Entry(self._table, f"{self._name(key)}[{i}]", entry)
            for i, entry in enumerate(self._of(key, list))
        ]

    def reached(self) -> bool | None:
        return None if self.value("reached") is None else self._of("reached", bool)

    def _of(self, key: str, kind: Any) -> Any:
        value = self.value(key)
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        return value if fits else self._fail(key, value)

    def _name(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where and key else self._where or key

    def _fail(self, key: str, value: object) -> Any:
        where = self._name(key) or "its content"
        raise _damaged(self._table, f"{where} is of type {type(value).__name__}")


def _damaged(table: str, what: str) -> DataError:
    return DataError(
        f"the table {table!r} of the run is damaged: {what}",
        "It was cut off, edited, or written by another version of foveate.",
        f"Remove tables/{table}.json and start 'foveate bench observe --table {table}' again: "
        "nothing is measured twice.",
    )
