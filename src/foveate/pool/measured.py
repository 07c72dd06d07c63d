"""What reading the pixels of a scene has told, kept so that no scene is read twice for it.

A pool that grows, or that had scenes which could not be read, is measured again; the scenes that
are as they were are taken from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.files import read_parquet, write_parquet
from foveate.raster import Frame

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Measured:
    """What is known of the m tiles of a scene.

    Attributes:
        share: (m,) float32 valid share.
        counts: (m, C) int64 pixels of each class, or None without masks.
        frame: An undeclared frame of the scene, or None.
    """

    share: NDArray[np.float32]
    counts: NDArray[np.int64] | None
    frame: Frame | None


def load_measured(file: Path) -> dict[str, Measured]:
    """Read what `save_measured` has written: key -> what is known. Nothing if it is not there."""
    if not file.is_file():
        return {}
    table = read_parquet(file)
    found = {}
    for row in table.to_pylist():
        share = np.asarray(row["share"], np.float32)
        counts, value = row["counts"], row["frame"]
        found[row["key"]] = Measured(
            share,
            None if counts is None else np.asarray(counts, np.int64).reshape(share.size, -1),
            None if value is None else Frame(value, row["frame_share"]),
        )
    return found


def save_measured(file: Path, known: dict[str, Measured]) -> None:
    """Write what is known of scenes, by keys of everything that it depends on.

    Raises:
        StorageError: It cannot be written.
    """
    import pyarrow as pa

    rows = [
        {
            "key": key, "share": one.share,
            "counts": None if one.counts is None else one.counts.ravel(),
            "frame": one.frame and one.frame.value,
            "frame_share": one.frame and one.frame.share,
        }
        for key, one in known.items()
    ]  # fmt: skip
    schema = pa.schema({
        "key": pa.string(), "share": pa.list_(pa.float32()), "counts": pa.list_(pa.int64()),
        "frame": pa.int64(), "frame_share": pa.float64(),
    })  # fmt: skip
    write_parquet(file, pa.Table.from_pylist(rows, schema=schema))
