"""What a focus run holds, read by the files that its steps have on record."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import read_json, read_parquet
from foveate.report import masks
from foveate.report.data import PoolData
from foveate.report.stage import number
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

STANDARD = 256  # side that counts as one pass where a model takes any size, pixels
_CROP = 256  # longest side of crops where there are many images, pixels


@dataclass(frozen=True)
class LookData:
    """One image.

    Attributes:
        name: The image.
        result: The look as it is stored.
        columns: Name -> n values of all cells.
        thumb: Picture of it, or None.
        crops: Rank -> picture of the region.
        mask: Map of the masks, or None.
        crop_side: Longest side at which crops are shown, pixels; None for their own.
    """

    name: str
    result: dict[str, Any]
    columns: Mapping[str, Sequence]
    thumb: Path | None
    crops: Mapping[int, Path]
    mask: Path | None
    crop_side: int | None = None

    @property
    def fits(self) -> list[float]:
        """How well each cell fits the query; empty without one."""
        return [number(v) for v in self.columns.get("fit", ())]

    def masks(self) -> str:
        """Return the masks as a data URI, or ""."""
        return "" if self.mask is None else masks.picture(self.mask)


@dataclass(frozen=True)
class Focused(PoolData):
    """A focus run; each image is one row.

    Attributes:
        looks: The images.
    """

    looks: list[LookData]

    @property
    def task(self) -> str:
        """What was done: "look", "ask" or "segment"."""
        return str(self.record["summary"]["focus"].get("task", "look"))

    @cached_property
    def side(self) -> int:
        """Side of a crop, pixels of the image: what tiling would cut."""
        job = self.record.get("job", {})
        size = (self.encoder or {}).get("input_size")
        return int(job.get("crop") or job.get("side") or (max(size) if size else STANDARD))


def read_focused(run_dir: str | Path) -> Focused:
    """Read a focus run.

    Raises:
        DataError: There is no run, or its files contradict each other.
    """
    run = Run.load(run_dir)
    names = [str(look["image"]) for look in run.record["summary"]["focus"]["looks"]]
    looks = [_read(run, name, few=len(names) == 1) for name in names]
    scenes = read_parquet(run.path / "scenes.parquet").to_pylist()
    return Focused(
        name=run.path.resolve().name,
        record=run.record,
        ids=names,
        scene=np.arange(len(names)),
        scenes=scenes,
        excluded={},
        encoder=run.record["summary"].get("model"),
        tile_files={},
        scene_files={look.name: look.thumb for look in looks if look.thumb is not None},
        looks=looks,
    )


def _read(run: Run, name: str, *, few: bool) -> LookData:
    """Read one image by the files of its step."""
    root = run.path.resolve()
    listed = run.record.get("steps", {}).get(f"look {name}", {}).get("outputs", [])
    files = [(root / file).resolve() for file in listed]
    # A run may come from somebody else: nothing outside of it is put on the page.
    files = [file for file in files if file.is_relative_to(root) and file.is_file()]

    def one(folder: str, suffix: str) -> Path | None:
        found = (f for f in files if f.parent.name == folder and f.name.endswith(suffix))
        return next(found, None)

    result, cells = one("looks", ".json"), one("looks", ".parquet")
    if result is None or cells is None:
        raise DataError(
            f"the run {str(run.path)!r} holds no result of the image {name!r}",
            "A report needs the files that the last steps of a run write.",
            "Start the same command again: it goes on where it stopped.",
        )
    table = read_parquet(cells)
    table = table.drop_columns([c for c in ("geometry", "scene") if c in table.column_names])
    crops = [f for f in files if f.parent.name == "crops"]
    return LookData(
        name,
        read_json(result),
        table.to_pydict(),
        one("thumbs", ".jpg"),
        {int(f.stem.rpartition("-")[2]): f for f in crops if f.stem[-2:].isdigit()},
        one("masks", ".tif"),
        None if few else _CROP,
    )
