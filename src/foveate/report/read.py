"""Readers of runs of `curate`, `classify` and `focus`, for their reports.

Rows of a pool are those of ``tiles.parquet``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import read_json, read_parquet
from foveate.report.human import number
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.report.read_compare import Compared

STANDARD = 256  # side of one pass for models that accept any size, pixels


@dataclass(frozen=True)
class PoolData:
    """Data common to all runs.

    Attributes:
        scene: (n,) int64 row of `scenes` of each tile.
        scenes: One dict per scene: scene, uri, height, width, crs, fingerprint ...
    """

    name: str  # name of the run directory
    record: dict[str, Any]  # content of ``run.json``
    ids: list[str] = field(default_factory=list)  # (n,) tile ids
    scene: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    scenes: list[dict[str, Any]] = field(default_factory=list)
    excluded: dict[str, str] = field(default_factory=dict)  # tile id -> reason of its exclusion
    encoder: dict[str, Any] | None = None  # spec of the encoder, or None
    tile_files: dict[str, Path] = field(default_factory=dict)  # tile id -> picture file
    scene_files: dict[str, Path] = field(default_factory=dict)  # scene -> picture file

    @property
    def n(self) -> int:
        """Number of tiles in the pool."""
        return len(self.ids)

    def scene_name(self, row: int) -> str:
        """Return the name of the scene of a tile."""
        return str(self.scenes[self.scene[row]]["scene"]) if self.scenes else ""


@dataclass(frozen=True)
class CoreSets(PoolData):
    """A benchmark of `curate`."""

    found: dict[str, Any] = field(default_factory=dict)  # content of ``tables/curate.json``
    compared: Compared | None = None  # comparison of the rankings, with a preset


def read_core_sets(run_dir: str | Path) -> CoreSets:
    """Read a benchmark of `curate`.

    Raises:
        DataError: There is no run, or it is not finished.
    """
    from foveate.report.read_compare import read_comparison

    run = Run.load(run_dir)
    summary = run.record["summary"]
    about = summary["core_sets"].get("compare")
    return CoreSets(
        name=run.path.resolve().name, record=run.record, encoder=summary.get("model"),
        found=summary["core_sets"], compared=read_comparison(run, about) if about else None,
    )  # fmt: skip


@dataclass(frozen=True)
class MethodData:
    """One method of a curate run.

    Attributes:
        rank: (n,) float64, 1-based rank of each tile; NaN if not ranked.
        report: Further output of the method, JSON-ready.
    """

    name: str  # name in files and options
    title: str  # display name
    source: str  # paper and section
    rank: NDArray[np.float64]
    score: NDArray[np.float64]  # (n,) float64; NaN where missing
    picks: NDArray[np.int64]  # (k,) int64 rows, in the order of selection
    spent: dict[str, float] = field(default_factory=dict)  # unit -> cost of the picks
    unspent: dict[str, float] = field(default_factory=dict)  # unit -> remaining budget
    options: dict[str, Any] = field(default_factory=dict)  # option -> value
    report: dict[str, Any] = field(default_factory=dict)
    seconds: float = float("nan")  # time of ranking; NaN if not recorded
    put_back: int = 0  # tiles ranked last: they overlap an earlier tile, or are constant
    repeats: int = 0  # picks among these
    constant: int = 0  # tiles ranked last because they have one value in each band
    constant_picks: int = 0  # picks among these

    @property
    def depth(self) -> int:
        """Number of ranked tiles."""
        return int(np.isfinite(self.rank).sum())


@dataclass(frozen=True, kw_only=True)
class Curated(PoolData):
    """A curate run.

    Attributes:
        overlap: (M, M) share of the smaller selection that is in the other; NaN if unknown.
    """

    windows: NDArray[np.int64]  # (n, 4) int64 ``y, x, h, w`` in pixels of the scene
    counts: NDArray[np.int64] | None  # (n, C) int64 pixels per class, or None without masks
    classes: list[str]  # C names of classes
    colors: list[str]  # C display colours "#RRGGBB"
    methods: list[MethodData]  # the methods, in the order of the job
    kendall: NDArray[np.float64]  # (M, M) Kendall's tau-b; NaN where undefined
    overlap: NDArray[np.float64]

    @property
    def rankable(self) -> int:
        """Number of tiles that can be ranked: all but those that the run starts from."""
        return self.n - int(self.record.get("summary", {}).get("start") or 0)


@dataclass(frozen=True, kw_only=True)
class Classified(PoolData):
    """A classify run.

    Attributes:
        second: (n,) name and probability of the second label; None if there is none.
        confusion: (C, C) int64 patches, true classes in rows; None without ground truth.
    """

    labels: list[str]  # C names
    first: NDArray[np.int64]  # (n,) int64 label of each tile
    probability: NDArray[np.float64]  # (n,) float64 probability of that label
    second: list[tuple[str, float] | None]
    confusion: NDArray[np.int64] | None
    truth: NDArray[np.int64]  # (n,) int64 true label of each tile; -1 where not known


@dataclass(frozen=True)
class LookData:
    """One image of a focus run."""

    name: str  # name of the image
    result: dict[str, Any]  # the stored look
    columns: Mapping[str, Sequence]  # name -> values of all n cells
    thumb: Path | None  # thumbnail, or None
    crops: Mapping[int, Path]  # rank -> picture of the region
    mask: Path | None  # map of the masks, or None


@dataclass(frozen=True, kw_only=True)
class Focused(PoolData):
    """A focus run; each image is one row."""

    looks: list[LookData]

    @property
    def task(self) -> str:
        """The task: "look", "ask" or "segment"."""
        return self.about("task") or "look"

    def about(self, key: str) -> str:
        """Return an entry of the summary: "task", "goal", "mode" or "query"."""
        return str(self.record["summary"]["focus"].get(key) or "")

    @cached_property
    def side(self) -> int:
        """Side of a crop of tiling, pixels of the image."""
        job = self.record.get("job", {})
        size = (self.encoder or {}).get("input_size")
        return int(job.get("crop") or job.get("side") or (max(size) if size else STANDARD))


def read_curated(run_dir: str | Path) -> Curated:
    """Read a curate run.

    Raises:
        DataError: There is no run, it is not finished, or its tables contradict each other.
    """
    run = Run.load(run_dir)
    path = run.path
    if not (path / "tables/methods.parquet").is_file():
        raise unfinished(run)
    tiles = read_parquet(path / "tiles.parquet")
    common = read_pool(run, tiles)
    methods = _methods(run, {tile: row for row, tile in enumerate(common["ids"])})
    counts = None
    legend = read_json(path / "tables/legend.json")
    if "counts" in tiles.column_names and legend:
        flat = tiles["counts"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        counts = flat.astype(np.int64).reshape(len(tiles), -1)
    colors = legend.get("colors", {}) if legend else {}
    kendall, overlap = _agreement(path, [m.name for m in methods])
    return Curated(
        **common, windows=windows_of(tiles), counts=counts, classes=list(colors),
        colors=list(colors.values()), methods=methods, kendall=kendall, overlap=overlap,
    )  # fmt: skip


def read_classified(run_dir: str | Path) -> Classified:
    """Read a classify run.

    Raises:
        DataError: There is no run, or its tables contradict each other.
    """
    run = Run.load(run_dir)
    tiles = read_parquet(run.path / "tiles.parquet")
    found = read_parquet(run.path / "predictions.parquet")
    summary = run.record["summary"]
    labels = list(summary["labels"])
    index = {name: i for i, name in enumerate(labels)}
    names = found["label"].to_pylist()
    if found["tile_id"] != tiles["tile_id"] or not set(names) <= set(index):
        raise contradiction("predictions of other tiles or labels", "predictions.parquet")
    confusion = None
    if summary.get("truth"):
        table = read_parquet(run.path / "tables/confusion.parquet")
        confusion = table["tiles"].to_numpy().reshape(len(labels), len(labels))
    truth = found["truth"].to_pylist() if "truth" in found.column_names else [None] * len(tiles)
    second = zip(
        found["second_label"].to_pylist(), found["second_probability"].to_pylist(), strict=True
    )
    return Classified(
        **read_pool(run, tiles),
        labels=labels,
        first=np.array([index[name] for name in names], dtype=np.int64),
        probability=found["probability"].to_numpy().astype(np.float64),
        second=[None if name is None else (name, chance) for name, chance in second],
        confusion=confusion,
        truth=np.array([index.get(name, -1) for name in truth], dtype=np.int64),
    )


def read_focused(run_dir: str | Path) -> Focused:
    """Read a focus run.

    Raises:
        DataError: There is no run, or its files contradict each other.
    """
    run = Run.load(run_dir)
    names = [str(look["image"]) for look in run.record["summary"]["focus"]["looks"]]
    looks = [_look(run, name) for name in names]
    return Focused(
        name=run.path.resolve().name, record=run.record, ids=names, scene=np.arange(len(names)),
        scenes=read_parquet(run.path / "scenes.parquet").to_pylist(),
        encoder=run.record["summary"].get("model"), looks=looks,
        scene_files={look.name: look.thumb for look in looks if look.thumb is not None},
    )  # fmt: skip


def read_pool(run: Run, tiles: pa.Table) -> dict[str, Any]:
    """Return the fields of a `PoolData`.

    Args:
        run: The run.
        tiles: Its ``tiles.parquet``.

    Raises:
        DataError: The tables contradict each other.
    """
    scenes = read_parquet(run.path / "scenes.parquet").to_pylist()
    index = {entry["scene"]: row for row, entry in enumerate(scenes)}
    tile_files, scene_files = pictures_of(run.path)
    return {
        "name": run.path.resolve().name,
        "record": run.record,
        "ids": tiles["tile_id"].to_pylist(),
        # A pool of embeddings has no scenes.
        "scene": rows_of(tiles["scene"].to_pylist(), index, "scenes.parquet")
        if "scene" in tiles.column_names
        else np.zeros(len(tiles), np.int64),
        "scenes": scenes,
        "excluded": read_json(run.path / "tables/excluded.json") or {},
        "encoder": run.record.get("summary", {}).get("model"),
        "tile_files": tile_files,
        "scene_files": scene_files,
    }


def windows_of(tiles: pa.Table) -> NDArray[np.int64]:
    """Return (n, 4) ``y, x, h, w`` of tiles in pixels; zeros without imagery."""
    if "y" not in tiles.column_names:
        return np.zeros((len(tiles), 4), np.int64)
    return np.stack([tiles[c].to_numpy() for c in "yxhw"], axis=1).astype(np.int64)


def rows_of(names: list[str], index: Mapping[str, int], where: str) -> NDArray[np.int64]:
    """Return the row of each name.

    Raises:
        DataError: A name is missing.
    """
    try:
        return np.array([index[name] for name in names], dtype=np.int64)
    except KeyError as error:
        raise contradiction(f"{error.args[0]!r} missing", where) from error


def column(table: pa.Table, name: str, rows: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Return a column given at `rows` as (n,) values, NaN elsewhere."""
    values = np.full(n, np.nan)
    if name in table.column_names:
        found = table[name].combine_chunks()
        found = found.cast("float64" if found.type != "bool" else "int8")
        values[rows] = found.to_numpy(zero_copy_only=False)
    return values


def unfinished(run: Run, what: str = "no tables to report") -> DataError:
    """Return the error of a run whose last steps are missing."""
    return DataError(
        f"the run {str(run.path)!r} is not finished: it has {what}",
        "A report requires the tables of the last steps of a run.",
        "Run the same command again: it resumes the run.",
    )


def contradiction(what: str, where: str) -> DataError:
    """Return the error of inconsistent tables."""
    return DataError(
        f"the tables of the run are inconsistent: {what} in {where}",
        "",
        "Run the job again into a new folder.",
    )


def _methods(run: Run, index: dict[str, int]) -> list[MethodData]:
    scores = read_parquet(run.path / "tables/scores.parquet")
    rows = rows_of(scores["tile_id"].to_pylist(), index, "tiles.parquet")
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
                rank=column(scores, f"rank:{name}", rows, rows.size),
                score=column(scores, f"score:{name}", rows, rows.size),
                picks=rows_of(chosen["tile_id"].to_pylist(), index, "tiles.parquet"),
                spent=footer.get("spent", {}),
                unspent=footer.get("unspent", {}),
                options=summary.get("options", {}),
                report=summary.get("report", {}),
                seconds=steps.get(f"rank {name}", {}).get("seconds", float("nan")),
                put_back=int(summary.get("put_back") or 0),
                repeats=int(summary.get("repeats") or 0),
                constant=int(summary.get("report", {}).get("constant") or 0),
                constant_picks=int(summary.get("constant_picks") or 0),
            )
        )
    return methods


def _agreement(path: Path, names: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kendall, overlap = (np.full((len(names), len(names)), np.nan) for _ in range(2))
    index = {name: i for i, name in enumerate(names)}
    if (path / "tables/agreement.parquet").is_file():
        for pair in read_parquet(path / "tables/agreement.parquet").to_pylist():
            if pair["a"] in index and pair["b"] in index:
                i, j = index[pair["a"]], index[pair["b"]]
                kendall[i, j] = kendall[j, i] = pair["kendall"]
                overlap[i, j] = overlap[j, i] = pair["overlap"]
    return kendall, overlap


def pictures_of(path: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the pictures of a run: of tiles by id, and of scenes by name."""
    found: dict[str, dict[str, Path]] = {"tile": {}, "scene": {}}
    if (path / "tables/thumbs.parquet").is_file():
        root = path.resolve()
        for entry in read_parquet(path / "tables/thumbs.parquet").to_pylist():
            file = (root / entry["file"]).resolve()
            # Runs are untrusted: files outside of the run directory are not put on the page.
            if file.is_relative_to(root) and file.is_file() and entry["kind"] in found:
                found[entry["kind"]][entry["name"]] = file
    return found["tile"], found["scene"]


def _look(run: Run, name: str) -> LookData:
    """Read one image from the recorded output files of its step."""
    root = run.path.resolve()
    outputs = run.record.get("steps", {}).get(f"look {name}", {}).get("outputs", [])
    files = [(root / file).resolve() for file in outputs]
    # Runs are untrusted: files outside of the run directory are not put on the page.
    files = [file for file in files if file.is_relative_to(root) and file.is_file()]

    def one(folder: str, suffix: str) -> Path | None:
        found = (f for f in files if f.parent.name == folder and f.name.endswith(suffix))
        return next(found, None)

    result, cells = one("looks", ".json"), one("looks", ".parquet")
    if result is None or cells is None:
        raise DataError(
            f"the run {str(run.path)!r} has no result of the image {name!r}",
            "A report requires the files of the last steps of a run.",
            "Run the same command again: it resumes the run.",
        )
    table = read_parquet(cells)
    table = table.drop_columns([c for c in ("geometry", "scene") if c in table.column_names])
    crops = [f for f in files if f.parent.name == "crops" and f.stem[-2:].isdigit()]
    return LookData(
        name, read_json(result), table.to_pydict(), one("thumbs", ".jpg"),
        {int(f.stem.rpartition("-")[2]): f for f in crops}, one("masks", ".tif"),
    )  # fmt: skip


def fits(look: LookData) -> list[float]:
    """Return the similarity of each cell to the query; empty without a query."""
    return [number(v) for v in look.columns.get("fit", ())]
