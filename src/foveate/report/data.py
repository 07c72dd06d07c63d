"""What a run directory holds, read into plain arrays; pictures are left to `pictures`.

Rows are those of ``tiles.parquet``. Nothing here is text for people: that is `view`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import read_json, read_parquet
from foveate.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class MethodData:
    """One method of a run.

    Attributes:
        name: Its name in files and options.
        title: Its name for people.
        source: Paper and section.
        rank: (n,) float64, 1-based place of each tile; NaN where it is not ranked.
        score: (n,) float64; NaN where there is none.
        picks: (k,) int64 rows, in the order of choice.
        spent: Unit -> cost of the picks.
        unspent: Unit of the budget -> what is left.
        options: Option -> value.
        report: What else the method reported, JSON-ready.
        seconds: Time of ranking; NaN when not on record.
        put_back: Tiles that were ranked last because they share ground with an earlier one.
        repeats: Picks among these.
    """

    name: str
    title: str
    source: str
    rank: NDArray[np.float64]
    score: NDArray[np.float64]
    picks: NDArray[np.int64]
    spent: dict[str, float] = field(default_factory=dict)
    unspent: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    seconds: float = float("nan")
    put_back: int = 0
    repeats: int = 0

    @property
    def depth(self) -> int:
        """Number of ranked tiles."""
        return int(np.isfinite(self.rank).sum())


@dataclass(frozen=True)
class PoolData:
    """What every run with a pool holds.

    Attributes:
        name: Name of the run directory.
        record: Content of ``run.json``.
        ids: (n,) tile ids.
        scene: (n,) int64 row of `scenes` of each tile.
        scenes: One dict per scene: scene, uri, height, width, crs, fingerprint ...
        excluded: Tile id -> why it left the pool.
        encoder: Spec of the encoder, or None.
        tile_files: Tile id -> picture file.
        scene_files: Scene -> picture file.
    """

    name: str
    record: dict[str, Any]
    ids: list[str]
    scene: NDArray[np.int64]
    scenes: list[dict[str, Any]]
    excluded: dict[str, str]
    encoder: dict[str, Any] | None
    tile_files: dict[str, Path]
    scene_files: dict[str, Path]

    @property
    def n(self) -> int:
        """Number of tiles in the pool."""
        return len(self.ids)


@dataclass(frozen=True)
class RunData(PoolData):
    """A curate run.

    Attributes:
        windows: (n, 4) int64 ``y, x, h, w`` in pixels of the scene.
        counts: (n, C) int64 pixels per class, or None without masks.
        classes: C names of classes.
        colors: C display colours "#RRGGBB".
        methods: The methods, in the order of the job.
        kendall: (M, M) Kendall's tau-b; NaN where it is not defined.
        overlap: (M, M) share of the smaller selection that is in the other; NaN if unknown.
    """

    windows: NDArray[np.int64]
    counts: NDArray[np.int64] | None
    classes: list[str]
    colors: list[str]
    methods: list[MethodData]
    kendall: NDArray[np.float64]
    overlap: NDArray[np.float64]


def read_run(run_dir: str | Path) -> RunData:
    """Read the tables of a run directory.

    Raises:
        DataError: There is no run, it is not finished, or its tables contradict each other.
    """
    run = Run.load(run_dir)
    path = run.path
    if not (path / "tables/methods.parquet").is_file():
        raise DataError(
            f"the run {str(path)!r} is not finished: it has no tables to report",
            "A report needs the tables that the last steps of a run write.",
            "Start the same command again: it goes on where it stopped.",
        )
    tiles = read_parquet(path / "tiles.parquet")
    common = read_pool(run, tiles)
    place = {tile: row for row, tile in enumerate(common["ids"])}
    methods = _methods(run, place)
    counts = None
    legend = read_json(path / "tables/legend.json")
    if "counts" in tiles.column_names and legend:
        flat = tiles["counts"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        counts = flat.astype(np.int64).reshape(len(tiles), -1)
    colors = legend.get("colors", {}) if legend else {}
    kendall, overlap = _agreement(path, [m.name for m in methods])
    return RunData(
        **common,
        windows=np.stack([tiles[c].to_numpy() for c in "yxhw"], axis=1).astype(np.int64),
        counts=counts,
        classes=list(colors),
        colors=list(colors.values()),
        methods=methods,
        kendall=kendall,
        overlap=overlap,
    )


def read_pool(run: Run, tiles: pa.Table) -> dict[str, Any]:
    """Read what a `PoolData` holds.

    Args:
        run: The run.
        tiles: Its ``tiles.parquet``.

    Raises:
        DataError: The tables contradict each other.
    """
    scenes = read_parquet(run.path / "scenes.parquet").to_pylist()
    place = {entry["scene"]: row for row, entry in enumerate(scenes)}
    tile_files, scene_files = _pictures(run.path)
    return {
        "name": run.path.resolve().name,
        "record": run.record,
        "ids": tiles["tile_id"].to_pylist(),
        "scene": _places(tiles["scene"].to_pylist(), place, "scenes.parquet"),
        "scenes": scenes,
        "excluded": read_json(run.path / "tables/excluded.json") or {},
        "encoder": run.record.get("summary", {}).get("model"),
        "tile_files": tile_files,
        "scene_files": scene_files,
    }


def _methods(run: Run, place: dict[str, int]) -> list[MethodData]:
    scores = read_parquet(run.path / "tables/scores.parquet")
    rows = _places(scores["tile_id"].to_pylist(), place, "tiles.parquet")
    summaries = run.record.get("summary", {}).get("methods", {})
    steps = run.record.get("steps", {})
    methods = []
    for entry in read_parquet(run.path / "tables/methods.parquet").to_pylist():
        name = entry["method"]
        chosen = read_parquet(run.path / "selection" / f"{name}.parquet").sort_by("rank")
        footer = json.loads((chosen.schema.metadata or {}).get(b"foveate", b"{}"))
        summary = summaries.get(name, {})
        methods.append(
            MethodData(
                name=name,
                title=entry["title"],
                source=entry["source"] or "",
                rank=_column(scores, f"rank:{name}", rows),
                score=_column(scores, f"score:{name}", rows),
                picks=_places(chosen["tile_id"].to_pylist(), place, "tiles.parquet"),
                spent=footer.get("spent", {}),
                unspent=footer.get("unspent", {}),
                options=summary.get("options", {}),
                report=summary.get("report", {}),
                seconds=steps.get(f"rank {name}", {}).get("seconds", float("nan")),
                put_back=int(summary.get("put_back") or 0),
                repeats=int(summary.get("repeats") or 0),
            )
        )
    return methods


def _column(table: pa.Table, name: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    values = np.full(rows.size, np.nan)
    if name in table.column_names:
        values[rows] = table[name].cast("float64").to_numpy(zero_copy_only=False)
    return values


def _places(names: list[str], place: dict[str, int], where: str) -> NDArray[np.int64]:
    try:
        return np.array([place[name] for name in names], dtype=np.int64)
    except KeyError as error:
        raise DataError(
            f"the run's tables contradict each other: {error.args[0]!r} is not in {where}",
            "",
            "Run the job again into a new folder.",
        ) from error


def _agreement(path: Path, names: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kendall, overlap = (np.full((len(names), len(names)), np.nan) for _ in range(2))
    place = {name: i for i, name in enumerate(names)}
    if (path / "tables/agreement.parquet").is_file():
        for pair in read_parquet(path / "tables/agreement.parquet").to_pylist():
            if pair["a"] in place and pair["b"] in place:
                i, j = place[pair["a"]], place[pair["b"]]
                kendall[i, j] = kendall[j, i] = pair["kendall"]
                overlap[i, j] = overlap[j, i] = pair["overlap"]
    return kendall, overlap


def _pictures(path: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {"tile": {}, "scene": {}}
    if (path / "tables/thumbs.parquet").is_file():
        root = path.resolve()
        for entry in read_parquet(path / "tables/thumbs.parquet").to_pylist():
            file = (root / entry["file"]).resolve()
            # A run may come from somebody else: nothing outside of it is put on the page.
            if file.is_relative_to(root) and file.is_file() and entry["kind"] in found:
                found[entry["kind"]][entry["name"]] = file
    return found["tile"], found["scene"]
