"""Readers of runs of `observe` and `bench observe`, for their reports.

There are four kinds: a trained observer, selected tiles, completed scenes, and benchmark tables.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from foveate.errors import DataError
from foveate.files import read_json, read_parquet
from foveate.report.assets import inside
from foveate.report.read import (
    PoolData,
    column,
    contradiction,
    read_pool,
    rows_of,
    unfinished,
    windows_of,
)  # fmt: skip
from foveate.report.svg import VERDICTS, Interval
from foveate.report.words.bench import Claim
from foveate.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

EVALUATION, ASSETS = "tables/evaluation.json", "tables/shown.json"
SCORES, COMPLETED, CONCEPTS = (
    "tables/scores.parquet", "tables/completed.parquet", "tables/concepts.parquet",
)  # fmt: skip
STAGES = ("fill", "predictor", "sampler", "predictor-stage-II")  # in the order of training
ORDER = (
    "main", "ablation", "supervision", "threshold", "predictor", "budget", "depth", "zeroshot",
    "pretraining", "encoders",
)  # fmt: skip  # order of the tables in the report


@dataclass(frozen=True, kw_only=True)
class Trained(PoolData):
    """A train run; it has no tiles.

    Attributes:
        assets: Maps and names of pictures of a few scenes; "search": the best tiles of concepts.
    """

    root: Path  # run directory, resolved
    evaluation: dict[str, Any]  # evaluation on held-out scenes
    assets: dict[str, Any]
    training: dict[str, Any]  # stage -> its training record

    def file(self, name: object) -> Path | None:
        """Return a picture of the run; None if missing."""
        return inside(self.root, name)


@dataclass(frozen=True, kw_only=True)
class Gridded(PoolData):
    """A run over the tiles of overviews, in the order of ``tiles.parquet``.

    Attributes:
        grid_index: (n, 2) int64 row and column of each tile in the grid of its scene.
        columns: Name -> (n,) values of the table of the run; NaN where missing.
    """

    root: Path  # run directory, resolved
    windows: NDArray[np.int64]  # (n, 4) int64 ``y, x, h, w`` in pixels of the scene
    grid_index: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]
    about: dict[str, Any]  # "observe" part of the summary

    def rows(self, scene: int) -> NDArray[np.int64]:
        """Return the tiles of a scene."""
        return np.flatnonzero(self.scene == scene)

    def grid(self, scene: int, name: str) -> NDArray[np.float64]:
        """Return (R, C) values of a column over the tiles of a scene; NaN where missing."""
        rows = self.rows(scene)
        return to_grid(self.grid_index[rows], self.columns[name][rows])

    def overview(self, scene: int) -> Path | None:
        """Return the picture of a scene: listed in ``tables/thumbs.parquet``, or by its name."""
        name = str(self.scenes[scene]["scene"])
        found = self.scene_files.get(name)
        if found is not None:
            return found
        stems = dict.fromkeys((name, name.rsplit("/", 1)[-1], re.sub(r"[^\w.-]+", "-", name)))
        files = (inside(self.root, f"thumbs/{stem}.jpg") for stem in stems)
        return next((file for file in files if file is not None), None)


def to_grid(
    index: NDArray[np.integer], values: NDArray[np.floating]
) -> NDArray[np.float64]:  # fmt: skip
    """Return the (R, C) grid of (n,) values at (n, 2) rows and columns; NaN without a tile."""
    grid = np.full((index.max(axis=0, initial=0) + 1), np.nan)
    grid[index[:, 0], index[:, 1]] = values
    return grid


def read_trained(run_dir: str | Path) -> Trained:
    """Read a train run.

    Raises:
        DataError: There is no run, or it is not finished.
    """
    run = Run.load(run_dir)
    root = run.path.resolve()
    if not (root / EVALUATION).is_file():
        raise unfinished(run)
    files = sorted((root / "training").glob("*.json"), key=_stage)
    return Trained(
        name=root.name, record=run.record, encoder=run.record.get("summary", {}).get("model"),
        root=root, evaluation=read_json(root / EVALUATION),
        assets=read_json(root / ASSETS) if (root / ASSETS).is_file() else {},
        training={file.stem: read_json(file) for file in files},
    )  # fmt: skip


def read_stats(run_dir: str | Path) -> PoolData:
    """Read a run of statistics of pairs, which are stored in its summary.

    Raises:
        DataError: There is no run.
    """
    run = Run.load(run_dir)
    return PoolData(name=run.path.resolve().name, record=run.record)


def read_selected(run_dir: str | Path) -> Gridded:
    """Read a run of selected tiles: score, raw, sd, area, chosen, rank.

    Raises:
        DataError: There is no run, it is not finished, or its tables contradict each other.
    """
    return _gridded(run_dir, SCORES, ("score", "raw", "sd", "area", "chosen", "rank"))


def read_completed(run_dir: str | Path) -> Gridded:
    """Read a run of completed scenes: whether each tile was observed, and its uncertainty.

    Raises:
        DataError: There is no run, it is not finished, or its tables contradict each other.
    """
    return _gridded(run_dir, COMPLETED, ("observed", "doubt"))


def read_concepts(run: Gridded) -> dict[str, NDArray[np.float64]]:
    """Return concept -> (n,) probability of each tile; empty if the observer has no head."""
    if not (run.root / CONCEPTS).is_file():
        return {}
    table = read_parquet(run.root / CONCEPTS)
    rows = _rows(table, run.ids)
    kept = [f.name for f in table.schema if str(f.type) in {"float", "double", "halffloat"}]
    return {name: column(table, name, rows, run.n) for name in kept}


def _gridded(run_dir: str | Path, name: str, columns: tuple[str, ...]) -> Gridded:
    run = Run.load(run_dir)
    root = run.path.resolve()
    if not all((root / file).is_file() for file in (name, "tiles.parquet", "scenes.parquet")):
        raise unfinished(run)
    tiles, table = read_parquet(root / "tiles.parquet"), read_parquet(root / name)
    common = read_pool(run, tiles)
    n, rows = len(tiles), _rows(table, common["ids"])
    index = np.stack([column(table, key, rows, n) for key in ("row", "col")], axis=1)
    if not np.isfinite(index).all() or (index < 0).any():
        raise contradiction("a tile without row and column", name)
    return Gridded(
        **common, root=root, windows=windows_of(tiles), grid_index=index.astype(np.int64),
        columns={key: column(table, key, rows, n) for key in columns},
        about=run.record["summary"]["observe"],
    )  # fmt: skip


def _rows(table: Any, ids: list[str]) -> NDArray[np.int64]:
    index = {tile: row for row, tile in enumerate(ids)}
    return rows_of(table["tile_id"].to_pylist(), index, "tiles.parquet")


def _stage(file: Path) -> tuple[int, str]:
    known = [i for i, name in enumerate(STAGES) if file.stem.partition("-")[0] == name]
    second = file.stem.endswith("stage-II")
    return (len(STAGES) if second else known[0] if known else len(STAGES) + 1, file.stem)


# tables of a benchmark


def _nan(value: object) -> object:
    return math.nan if value is None else value


Number = Annotated[float, BeforeValidator(_nan)]
_STRICT = ConfigDict(strict=True, extra="ignore")


@checked(frozen=True, config=_STRICT)
class _Test:
    scenes: int
    groups: int


@checked(frozen=True, config=_STRICT)
class Gap:
    """A stored difference with its 95 % interval."""

    mean: Number
    low: Number
    high: Number


@checked(frozen=True, config=_STRICT)
class _Claim:
    text: str
    reached: bool | None
    verdict: str = ""


@checked(frozen=True, config=_STRICT)
class TableRow:
    """A row of a table."""

    label: str  # name of the row
    block: str  # rows of a block are compared with each other
    means: dict[str, Number]  # measure -> mean over seeds; NaN where missing
    reference: str  # label of the reference row; empty for none
    difference: Gap | None  # from the reference in the leading measure; None without a reference
    p: Number  # Holm's p-value; NaN for none
    verdict: str  # stored verdict
    seeds: dict[str, int] = Field(default_factory=dict)  # of means that are not over all seeds

    @property
    def gap(self) -> Interval | None:
        """The difference; None without an interval."""
        if self.difference is None:
            return None
        ends = Interval(self.difference.mean, self.difference.low, self.difference.high)
        return ends if all(map(math.isfinite, ends)) else None

    @property
    def known_verdict(self) -> str:
        """The verdict; "" if unknown to this version."""
        return self.verdict if self.verdict in VERDICTS else ""


@checked(frozen=True, config=_STRICT)
class BenchTable:
    """A table of results."""

    title: str  # display name
    lead: str  # the measure by which rows are compared
    columns: list[str]  # measures that are listed
    seeds: int  # number of splits and trainings
    obr: Number  # observed share, if the table has one
    test: _Test  # test scenes per seed, and total number of groups
    clusters: int  # number of groups that the bootstrap resamples
    how: str  # method of the differences and verdicts
    note: str  # note on the table
    rows: list[TableRow]
    says: list[_Claim]  # stored claims
    cautions: list[str] = Field(default_factory=list)  # limitations of the figures
    titles: dict[str, str] = Field(default_factory=dict)  # measure -> display name
    left_out: dict[str, str] = Field(default_factory=dict)  # rows that were not measured -> reason
    name: str = ""  # value of ``--table``

    @property
    def claims(self) -> list[Claim]:
        """The claims, as used by `words.bench`."""
        return [Claim(one.text, one.reached, one.verdict) for one in self.says]


@dataclass(frozen=True, kw_only=True)
class Benched(PoolData):
    """A bench run.

    Attributes:
        tables: Existing tables in the order of `ORDER`; unknown tables last.
    """

    tables: list[BenchTable] = field(default_factory=list)
    last: str  # name of the table of the last command


def read_benched(run_dir: str | Path) -> Benched:
    """Read a bench run.

    Raises:
        DataError: There is no run, it is not finished, or a table is damaged.
    """
    run = Run.load(run_dir)
    root = run.path.resolve()
    _check_record(run)
    about = run.record["summary"].get("bench")
    last = about.get("table") if isinstance(about, dict) else None
    files = sorted((root / "tables").glob("*.json"), key=lambda file: _position(file.stem))
    # Other jobs may have tables in the same folder: those of the benchmark contain their name.
    found = {file.stem: read_json(file) for file in files}
    tables = [_table(name, entry) for name, entry in found.items() if _is_bench(name, entry)]
    if last not in [table.name for table in tables]:
        raise unfinished(run, f"no table {last!r}")
    return Benched(name=root.name, record=run.record, tables=tables, last=str(last))


def _check_record(run: Run) -> None:
    record = run.record
    steps = record.get("steps", {})
    parts = {
        "job": record.get("job", {}), "environment": record.get("environment", {}),
        "summary.pool": record.get("summary", {}).get("pool", {}), "steps": steps,
    }  # fmt: skip
    parts |= {f"steps[{k!r}]": v for k, v in steps.items()} if isinstance(steps, dict) else {}
    wrong = [name for name, part in parts.items() if not isinstance(part, dict)]
    if wrong:
        raise DataError(
            f"the record of the run {str(run.path)!r} is damaged: {wrong[0]} is not an object",
            "The file was truncated, edited, or written by another version of foveate.",
            "Run the job again into a new folder.",
        )


def _position(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def _is_bench(name: str, entry: object) -> bool:
    return name in ORDER or (isinstance(entry, dict) and entry.get("table") == name)


def _table(name: str, entry: object) -> BenchTable:
    return read_table(BenchTable, name, entry, "foveate bench observe")


def read_table[T: BenchTable](kind: type[T], name: str, entry: object, command: str) -> T:
    """Read a table of a benchmark.

    Args:
        kind: Class of the table.
        name: Value of ``--table``.
        entry: Content of its file.
        command: Command that wrote the table.

    Raises:
        DataError: The table is damaged.
    """
    given = {**entry, "name": name} if isinstance(entry, dict) else entry
    try:
        return TypeAdapter(kind).validate_json(json.dumps(given))
    except ValidationError as error:
        raise _damaged(name, error, command) from error


def _damaged(name: str, error: ValidationError, command: str) -> DataError:
    """Return an error that names the first missing or invalid part of a table."""
    first = error.errors()[0]
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]]
    where = "".join(steps).removeprefix(".")
    kind = type(first["input"]).__name__
    what = f"{where or 'its content'} is of type {kind}"
    if first["type"] in {"missing", "missing_argument"}:
        what = f"no {where}"
    return DataError(
        f"the table {name!r} of the run is damaged: {what}",
        "The file was truncated, edited, or written by another version of foveate.",
        f"Remove tables/{name}.json and run '{command} --table {name}' again: "
        "stored measurements are reused.",
    )
