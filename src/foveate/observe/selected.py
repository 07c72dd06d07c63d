"""A run of `foveate observe select`, opened again: its tiles, and which of them were chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import find_rows
from foveate.errors import DataError
from foveate.files import read_parquet, text_column
from foveate.observe.jobs import SelectJob
from foveate.observe.pairs import open_pairs
from foveate.observe.parts import Parts
from foveate.observe.ranking import bind_lr
from foveate.observe.select_results import SCORES
from foveate.observe.target import Target, cut, is_pairs, target_of
from foveate.pool.step import opened_pool
from foveate.pool.store import load_pool
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.observe.observer import Observer
    from foveate.raster import SourceInfo

_SELECT = "foveate observe select OVERVIEWS --observer OBSERVER --budget 12% --out RUN"


@dataclass(frozen=True, eq=False)
class Selected:
    """What was selected.

    Attributes:
        path: Run directory.
        record: Its ``run.json``.
        job: Its job.
        target: The n tiles and their overviews.
        chosen: (n,) bool.
    """

    path: Path
    record: dict[str, Any]
    job: SelectJob
    target: Target
    chosen: NDArray[np.bool_]

    @property
    def ids(self) -> NDArray[np.str_]:
        """(n,) tile ids."""
        return self.target.pool.ids

    @property
    def place(self) -> NDArray[np.int64]:
        """(n, 3) number of the scene, row and column in its grid."""
        return self.target.place

    def name(self, scene: int) -> str:
        """Return the id of a scene."""
        return self.target.pool.scenes[scene].scene_id

    def ground(self, scene: int) -> SourceInfo:
        """Return what is known of the raster that the tiles of a scene are windows of."""
        return self.target.pool.scenes[scene].source.info

    def rows(self, scene: int) -> NDArray[np.int64]:
        """Return the rows of the tiles of a scene."""
        return np.flatnonzero(self.place[:, 0] == scene)

    def tokens(
        self, observer: Observer, store: Run, device: str = "auto"
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield scenes with tiles and their (R * r, C * r, lr_dim) reduced LR tokens.

        Args:
            observer: The observer.
            store: The run, open for writing: a selection by the sampler keeps its tokens, one by a
                policy that looks at nothing gets them now.
            device: Of the encoder, where there is something to encode.
        """
        side, dim = observer.record.shape.lr_side, observer.record.shape.lr_dim
        model = bind_lr(self.target, observer, self.job.bands, device)
        counts = np.bincount(self.place[:, 0], minlength=len(self.target.shapes))
        waiting: dict[int, tuple[int, NDArray[np.float32]]] = {}  # scenes of which parts lack
        for rows, at, tokens in Parts(self.target, observer, model, store):
            scene = int(self.place[rows[0], 0])
            down, across = (self.place[rows[0], 1:] - at[0]) * side
            height, width = (n * side for n in self.target.shapes[scene])
            there, grid = waiting.pop(scene, (0, np.zeros((height, width, dim), np.float32)))
            grid[down : down + tokens.shape[1], across : across + tokens.shape[2]] = tokens[0]
            if there + len(rows) < counts[scene]:
                waiting[scene] = (there + len(rows), grid)
            else:
                yield scene, grid


def open_selected(path: str | Path) -> tuple[Path, dict[str, Any], SelectJob]:
    """Read the record of a run of `foveate observe select`.

    Returns:
        The run directory, ``run.json``, and the job.

    Raises:
        DataError: It is no such run, or it is not finished.
    """
    root = Path(path)
    record = Run.load(root).record
    if record.get("summary", {}).get("observe", {}).get("task") != "select":
        raise DataError(
            f"the run {str(root)!r} is {_kind(record)}",
            "Scenes are completed from a finished run of 'foveate observe select'.",
            f"{_SELECT}. A run that was stopped goes on with the same command.",
        )
    return root, record, SelectJob.stored(record)


def load_selected(path: str | Path, observer: Observer) -> Selected:
    """Open a run of `foveate observe select` with its observer; headers and tables only.

    Raises:
        DataError: It is no such run, it was made with another observer, or an overview is missing
            or has changed since.
    """
    root, record, job = open_selected(path)
    own, made = observer.record.encoders["lr"].spec, record["summary"]["model"]
    if made["fingerprint"] != own.fingerprint:
        raise _other(root, f"with the LR encoder {made['name']!r}, not {own.name!r}")
    if is_pairs(job.images[0]):
        target = target_of(open_pairs(job.images[0]))
    else:
        target = target_of(cut(opened_pool(job, split=(1, 1)), observer.record, job.tile))
        target = replace(target, pool=_stored(root, target, observer))
    scores = read_parquet(root / SCORES)
    order = find_rows(text_column(scores, "tile_id"), target.pool.ids)
    if (order < 0).any() or len(scores) != order.size:
        raise _other(root, "on other tiles")
    chosen = scores["chosen"].to_numpy(zero_copy_only=False)[order]
    return Selected(root, record, job, target, np.asarray(chosen, bool))


def _stored(root: Path, target: Target, observer: Observer) -> Any:
    """Return the pool as the run has measured it.

    Raises:
        DataError: Overviews have changed, or this observer cuts them otherwise.
    """
    known = {row["scene"]: row for row in read_parquet(root / "scenes.parquet").to_pylist()}
    for scene in target.overviews:
        found = known.pop(scene.scene_id, {"fingerprint": ""})
        if found["fingerprint"] != scene.source.info.fingerprint:
            raise _changed(root, scene.scene_id)
    if known:
        raise _changed(root, next(iter(known)))
    pool = load_pool(root, target.pool)
    if (find_rows(target.pool.ids, pool.ids) < 0).any():
        tile = observer.record.lr_tile
        raise _other(root, f"on tiles of another size than those of this one ({tile:g} pixels)")
    return pool


def _changed(root: Path, scene: str) -> DataError:
    return DataError(
        f"the overview {scene!r} is not what it was when {str(root)!r} was made",
        "What was chosen belongs to the overviews that it was chosen from.",
        "Put them back, or select again.",
    )


def _other(root: Path, how: str) -> DataError:
    return DataError(
        f"the run {str(root)!r} was made by another observer: {how}",
        "Scenes are completed by the observer that has selected.",
        "Leave --observer out, or select again with this one.",
    )


def _kind(record: dict[str, Any]) -> str:
    """Say what a run is of."""
    summary = record.get("summary")
    if not summary:
        return "not finished"
    task = summary.get("observe", {}).get("task")
    if task is None:
        parts = {"pairs": "observe prepare", "focus": "focus", "labels": "classify"}
        task = next((name for part, name in parts.items() if part in summary), "")
    return f"one of {task!r}" if task else "one of another command"
