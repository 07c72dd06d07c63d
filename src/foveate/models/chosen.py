"""Selected tiles of a selection or a run, for the samplers of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from foveate.embeddings import find_rows
from foveate.errors import DataError, ParameterError
from foveate.files import read_parquet, text_column
from foveate.pool.selections import no_method, stored_methods
from foveate.run import Run
from foveate.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from affine import Affine
    from numpy.typing import ArrayLike, NDArray

    from foveate.pool.pool import Pool


class Places(NamedTuple):
    """Windows of scenes, and the georeferences of the scenes.

    Attributes:
        scene: (k,) names of scenes.
        windows: (k, 4) y, x, h, w in pixels of the scene.
        known: Scene -> transform, and CRS as WKT or None.
    """

    scene: NDArray[np.str_]
    windows: NDArray[np.integer]
    known: Mapping[str, tuple[Affine, str | None]]


@dataclass(frozen=True)
class Chosen:
    """The selected tiles of a pool.

    Attributes:
        rows: (k,) int64 rows of the pool, in the order of selection.
        ids: (k,) str tile ids.
        n: Number of tiles of the pool.
        path: The run directory, or None.
        table: The selection table of the run, or None.
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.str_]
    n: int
    path: Path | None = None
    table: Any = None

    @classmethod
    def of(cls, chosen: Selection | str | Path, method: str = "") -> Self:
        """Return the selected tiles of a selection, or of a method in a run directory."""
        if isinstance(chosen, Selection):
            return cls(chosen.rows, chosen.values.astype(np.str_), chosen.n)
        run = Run.load(chosen)
        name = _method(run, method)
        table = read_parquet(run.path / f"selection/{name}.parquet").sort_by("rank")
        pool = text_column(read_parquet(run.path / "tiles.parquet", ["tile_id"]), "tile_id")
        ids = text_column(table, "tile_id")
        rows = find_rows(pool, ids)
        if (rows < 0).any():
            raise DataError(
                f"the run {str(run.path)!r} has selected tiles missing from its tiles.parquet", "",
                "Run the job again into a new folder.",
            )  # fmt: skip
        return cls(rows, ids, pool.size, run.path, table)

    def class_counts(self, counts: ArrayLike | None) -> NDArray[np.int64]:
        """Return (k, C) pixels per class of the selected tiles."""
        if counts is not None:
            given = np.asarray(counts)
            if given.ndim != 2 or len(given) != self.n:
                raise DataError(
                    f"class counts of shape {given.shape} for a pool of {self.n} tiles",
                    "Expected one row per tile of the pool, selected or not.",
                )
            return given[self.rows]
        tiles = None if self.path is None else read_parquet(self.path / "tiles.parquet")
        if tiles is None or "counts" not in tiles.column_names:
            raise DataError(
                "the selection has no class counts",
                "A balanced sampler requires class counts from masks.",
                "Pass counts=pool.counts, or use a run with --masks.",
            )
        flat = tiles["counts"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(self.n, -1)[self.rows]

    def placed(self, pool: Pool | None) -> Places:
        """Return windows and georeferences of the selected tiles."""
        if pool is not None and len(pool) != self.n:
            raise DataError(f"a pool of {len(pool)} tiles for a selection from {self.n}", "")
        if pool is not None and pool.tiles is not None:
            tiles = pool.tiles.take(self.rows)
            boxes = {s.scene_id: s.source.info.geobox for s in pool.scenes}
            known = {
                name: (box.affine, box.crs.to_wkt() if box.crs is not None else None)
                for name, box in boxes.items() if box is not None
            }  # fmt: skip
            windows = np.stack([tiles.y, tiles.x, tiles.h, tiles.w], axis=1)
            return Places(tiles.scene, windows, known)
        if self.path is None or not {"scene", "y", "x"} <= set(self.table.column_names):
            raise DataError(
                "the selected tiles have no windows",
                "Coordinates are computed from windows of scenes.",
                "Pass pool=..., the ranked pool, or a run directory.",
            )
        from affine import Affine

        rows = read_parquet(self.path / "scenes.parquet").to_pylist()
        known = {r["scene"]: (Affine(*r["affine"]), r["crs"]) for r in rows if r["affine"]}
        windows = np.stack([self.table[name].to_numpy() for name in "yxhw"], axis=1)
        return Places(text_column(self.table, "scene"), windows, known)


def _method(run: Run, method: str) -> str:
    names = stored_methods(run)
    if not names:
        raise DataError(
            f"the run {str(run.path)!r} has no selection",
            "Selections are files selection/<method>.parquet.",
            "Finish the run, or use a run of curate or observe select.",
        )
    if not method and len(names) > 1:
        raise ParameterError(
            f"the run has several selections: {', '.join(names)}", "Exactly one is required.",
            f"Select one with method={names[0]!r}.",
        )  # fmt: skip
    if method and method not in names:
        raise no_method(run, method, names)
    return method or names[0]
