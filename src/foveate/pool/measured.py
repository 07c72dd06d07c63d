"""Cache of the measurements of scenes, so that unchanged scenes are not read again.

It is used when a pool grows, or is measured again because some scenes could not be read.
"""

from __future__ import annotations

import json
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
    """Measurements of the m tiles of a scene.

    Attributes:
        share: (m,) float32 valid share.
        counts: (m, C) int64 pixels of each class, or None without masks.
        frame: The undeclared frame of the scene, or None.
    """

    share: NDArray[np.float32]
    counts: NDArray[np.int64] | None
    frame: Frame | None


def load_measured(file: Path) -> dict[str, Measured]:
    """Read the file of `save_measured`: key -> measurements. Empty if it does not exist."""
    if not file.is_file():
        return {}
    table = read_parquet(file)
    measured = {}
    for row in table.to_pylist():
        share = np.asarray(row["share"], np.float32)
        counts, value = row["counts"], row["frame"]  # an exact number as JSON
        measured[row["key"]] = Measured(
            share,
            None if counts is None else np.asarray(counts, np.int64).reshape(share.size, -1),
            None if value is None else Frame(json.loads(value), row["frame_share"]),
        )
    return measured


def save_measured(file: Path, known: dict[str, Measured]) -> None:
    """Write measurements of scenes; keys are hashes of all inputs of a measurement.

    Raises:
        StorageError: The file cannot be written.
    """
    import pyarrow as pa

    rows = [
        {
            "key": key, "share": scene.share,
            "counts": None if scene.counts is None else scene.counts.ravel(),
            "frame": scene.frame and json.dumps(scene.frame.value),
            "frame_share": scene.frame and scene.frame.share,
        }
        for key, scene in known.items()
    ]  # fmt: skip
    schema = pa.schema({
        "key": pa.string(), "share": pa.list_(pa.float32()), "counts": pa.list_(pa.int64()),
        "frame": pa.string(), "frame_share": pa.float64(),
    })  # fmt: skip
    write_parquet(file, pa.Table.from_pylist(rows, schema=schema))
