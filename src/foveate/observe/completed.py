"""A run of `foveate observe complete`, read: its tiles, what was observed, and their features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import read_parquet, text_column
from foveate.run import Run
from foveate.run.shards import load_embeddings

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPLETED, CONCEPTS = "tables/completed.parquet", "tables/concepts.parquet"
NAME = "completed"  # of the embeddings


@dataclass(frozen=True, eq=False)
class Completed:
    """Completed scenes, in rows of their tiles.

    Attributes:
        path: Run directory.
        record: Its ``run.json``.
        ids: (n,) tile ids.
        scene: (n,) names of scenes.
        row: (n,) rows in the grid of the scene.
        col: (n,) columns.
        observed: (n,) bool.
        doubt: (n,) float32, 0 to 1.
        x: (n, d) float16 mean tokens; a memory map.
    """

    path: Path
    record: dict[str, Any]
    ids: NDArray[np.str_]
    scene: NDArray[np.str_]
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    observed: NDArray[np.bool_]
    doubt: NDArray[np.float32]
    x: NDArray[np.floating]

    def __len__(self) -> int:
        """Return the number of tiles."""
        return self.ids.size

    @property
    def model(self) -> str:
        """Folder of the observer that has completed them."""
        return self.record["summary"]["observe"]["observer"]

    def by_scene(self) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
        """Return the names of the scenes, and (n,) the number of each tile's."""
        names, numbers = np.unique(self.scene, return_inverse=True)
        return names, numbers.astype(np.int64)


def open_completed(path: str | Path) -> Completed:
    """Open a run of `foveate observe complete`.

    Raises:
        DataError: It is no such run, or it is not finished.
    """
    root = Path(path)
    record = Run.load(root).record
    task = record.get("summary", {}).get("observe", {}).get("task")
    if task != "complete":
        raise DataError(
            f"the run {str(root)!r} holds no completed scenes"
            + (f": it is one of {task!r}" if task else ""),
            "Those are what 'foveate observe complete' writes.",
            "foveate observe complete RUN --tiles DIR --out SCENES",
        )
    table = read_parquet(root / COMPLETED)
    ids = text_column(table, "tile_id")
    return Completed(
        root, record, ids, text_column(table, "scene"),
        table["row"].to_numpy().astype(np.int64), table["col"].to_numpy().astype(np.int64),
        table["observed"].to_numpy(zero_copy_only=False), table["doubt"].to_numpy(),
        load_embeddings(root, NAME).align(ids),
    )  # fmt: skip
