"""What the runs of `foveate observe` hold, read into plain values.

Three kinds: a trained observer ("train"), tiles that it chose ("select"), and scenes completed from
what was then observed ("complete"). Nothing here is text for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import read_json, read_parquet
from foveate.report.data import PoolData, read_pool
from foveate.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

EVALUATION, SHOWN = "tables/evaluation.json", "tables/shown.json"
SCORES, COMPLETED, CONCEPTS = (
    "tables/scores.parquet", "tables/completed.parquet", "tables/concepts.parquet",
)  # fmt: skip
STAGES = ("fill", "predictor", "sampler", "predictor-stage-II")  # in the order of training


@dataclass(frozen=True)
class Trained(PoolData):
    """A train run; it keeps no tiles of its own.

    Attributes:
        root: Run directory, resolved.
        evaluation: What the observer is worth on scenes that nothing was fitted to.
        shown: Maps and names of pictures of a few scenes; "search": the best tiles of concepts.
        training: Stage -> what is known of its training.
    """

    root: Path
    evaluation: dict[str, Any]
    shown: dict[str, Any]
    training: dict[str, Any]

    def file(self, name: object) -> Path | None:
        """Return a picture of the run, None where there is none."""
        return inside(self.root, name)


@dataclass(frozen=True)
class Gridded(PoolData):
    """A run over the tiles of overviews, in the order of ``tiles.parquet``.

    Attributes:
        root: Run directory, resolved.
        windows: (n, 4) int64 ``y, x, h, w`` in pixels of the scene.
        place: (n, 2) int64 row and column of each tile in the grid of its scene.
        columns: Name -> (n,) values of the run's own table; NaN where there is none.
        about: The part of the summary that is about this run.
    """

    root: Path
    windows: NDArray[np.int64]
    place: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]
    about: dict[str, Any]

    def rows(self, scene: int) -> NDArray[np.int64]:
        """Return the tiles of a scene."""
        return np.flatnonzero(self.scene == scene)

    def overview(self, scene: int) -> Path | None:
        """Return the picture of a scene, None where there is none.

        Listed in ``tables/thumbs.parquet``, else found by its name.
        """
        name = str(self.scenes[scene]["scene"])
        found = self.scene_files.get(name)
        if found is not None:
            return found
        stems = dict.fromkeys((name, name.rsplit("/", 1)[-1], re.sub(r"[^\w.-]+", "-", name)))
        files = (inside(self.root, f"thumbs/{stem}.jpg") for stem in stems)
        return next((file for file in files if file is not None), None)


def read_trained(run_dir: str | Path) -> Trained:
    """Read a train run.

    Raises:
        DataError: There is no run, or it is not finished.
    """
    run = Run.load(run_dir)
    root = run.path.resolve()
    if not (root / EVALUATION).is_file():
        raise _unfinished(run)
    shown = read_json(root / SHOWN) if (root / SHOWN).is_file() else {}
    files = sorted((root / "training").glob("*.json"), key=_stage)
    summary = run.record.get("summary", {})
    return Trained(
        name=root.name, record=run.record, ids=[], scene=np.zeros(0, np.int64), scenes=[],
        excluded={}, encoder=summary.get("model"), tile_files={}, scene_files={},
        root=root, evaluation=read_json(root / EVALUATION), shown=shown,
        training={file.stem: read_json(file) for file in files},
    )  # fmt: skip


def read_selected(run_dir: str | Path) -> Gridded:
    """Read a run of selected tiles: score, raw, sd, area, chosen, rank.

    Raises:
        DataError: There is no run, it is not finished, or its tables contradict each other.
    """
    return _gridded(run_dir, SCORES, ("score", "raw", "sd", "area", "chosen", "rank"))


def read_completed(run_dir: str | Path) -> Gridded:
    """Read a run of completed scenes: whether each tile was observed, and its doubt.

    Raises:
        DataError: There is no run, it is not finished, or its tables contradict each other.
    """
    return _gridded(run_dir, COMPLETED, ("observed", "doubt"))


def read_concepts(run: Gridded) -> dict[str, NDArray[np.float64]]:
    """Return concept -> (n,) probability of each tile; empty where the observer has no head."""
    if not (run.root / CONCEPTS).is_file():
        return {}
    table = read_parquet(run.root / CONCEPTS)
    rows = _rows(table, run.ids)
    kept = [f.name for f in table.schema if str(f.type) in {"float", "double", "halffloat"}]
    return {name: _column(table, name, rows, len(run.ids)) for name in kept}


def inside(root: Path, name: object) -> Path | None:
    """Return a file of a run by its name; None where there is none.

    A run may come from somebody else: nothing outside of it is put on the page.
    """
    if not isinstance(name, str) or "\0" in name:
        return None
    try:
        file = (root / name).resolve()
        return file if file.is_relative_to(root) and file.is_file() else None
    except OSError:  # a name that no file can have
        return None


def _gridded(run_dir: str | Path, name: str, columns: tuple[str, ...]) -> Gridded:
    run = Run.load(run_dir)
    root = run.path.resolve()
    if not all((root / file).is_file() for file in (name, "tiles.parquet", "scenes.parquet")):
        raise _unfinished(run)
    tiles, table = read_parquet(root / "tiles.parquet"), read_parquet(root / name)
    common = read_pool(run, tiles)
    n = len(common["ids"])
    rows = _rows(table, common["ids"])
    place = np.stack([_column(table, key, rows, n) for key in ("row", "col")], axis=1)
    if not np.isfinite(place).all() or (place < 0).any():
        raise _contradiction("a tile without row and column", name)
    return Gridded(
        **common,
        root=root,
        windows=np.stack([tiles[c].to_numpy() for c in "yxhw"], axis=1).astype(np.int64),
        place=place.astype(np.int64),
        columns={key: _column(table, key, rows, n) for key in columns},
        about=run.record["summary"]["observe"],
    )


def _rows(table: pa.Table, ids: list[str]) -> NDArray[np.int64]:
    """Return the tile of each row of a table."""
    place = {tile: row for row, tile in enumerate(ids)}
    try:
        return np.array([place[tile] for tile in table["tile_id"].to_pylist()], np.int64)
    except KeyError as error:
        raise _contradiction(repr(error.args[0]), "tiles.parquet") from error


def _column(table: pa.Table, name: str, rows: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    values = np.full(n, np.nan)
    if name in table.column_names:
        found = table[name].combine_chunks()
        values[rows] = found.cast("float64" if found.type != "bool" else "int8").to_numpy(
            zero_copy_only=False
        )
    return values


def _stage(file: Path) -> tuple[int, str]:
    known = [i for i, name in enumerate(STAGES) if file.stem.partition("-")[0] == name]
    second = file.stem.endswith("stage-II")
    return (len(STAGES) if second else known[0] if known else len(STAGES) + 1, file.stem)


def _unfinished(run: Run) -> DataError:
    return DataError(
        f"the run {str(run.path)!r} is not finished: it has no tables to report",
        "A report needs the tables that the last steps of a run write.",
        "Start the same command again: it goes on where it stopped.",
    )


def _contradiction(what: str, where: str) -> DataError:
    return DataError(
        f"the run's tables contradict each other: {what} in {where}",
        "",
        "Run the job again into a new folder.",
    )
