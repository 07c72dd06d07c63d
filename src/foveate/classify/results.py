"""What a classify run stores: predictions and the tables of its report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.classify.predict import Predictions
from foveate.files import read_parquet, write_parquet
from foveate.models.heads import confusion, numbers_of
from foveate.pool.store import tiles_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.pool import Pool

SCHEMA = 1
PREDICTIONS = "predictions.parquet"
LABELS = "tables/labels.parquet"
CONFUSION = "tables/confusion.parquet"
_FOOTER = b"foveate"


def save_predictions(
    path: Path,
    pool: Pool,
    found: Predictions,
    truth: NDArray[np.int64] | None,
    about: Mapping[str, Any],
) -> list[str]:
    """Write what each tile shows.

    ``predictions.parquet``, one row a tile: tile_id, scene, y, x, h, w, label, probability,
    second_label, second_probability; truth where it is known; geometry (WKB, longitude and
    latitude) where the scenes are georeferenced, and then it is GeoParquet.
    ``tables/labels.parquet``: label, tiles, share, mean_probability.

    Args:
        path: Run directory.
        pool: The pool.
        found: Its predictions, row for row.
        truth: (n,) class numbers, -1 where it is not known; or None.
        about: Facts for the footer, JSON-ready.

    Returns:
        The files, relative to `path`.
    """
    import pyarrow as pa

    tiles = tiles_table(pool)
    table = tiles.select(["tile_id", "scene", "y", "x", "h", "w"])
    columns = {
        "label": _names(found.names, found.first),
        "probability": pa.array(found.probability),
        "second_label": _names(found.names, found.second),
        "second_probability": pa.array(found.second_probability, from_pandas=True),
    }
    if truth is not None:
        columns["truth"] = _names(found.names, truth)
    if pool.georeferenced:
        columns["geometry"] = tiles["geometry"]
    for name, column in columns.items():
        table = table.append_column(name, column)
    footer = {"schema": SCHEMA, "labels": list(found.names), **about}
    table = table.replace_schema_metadata({_FOOTER: json.dumps(footer, sort_keys=True).encode()})
    geo = {"geometry": None} if pool.georeferenced else None
    write_parquet(path / PREDICTIONS, table, geo=geo)
    counts = found.counts()
    total = np.bincount(found.first, weights=found.probability, minlength=len(found.names))
    labels = {
        "label": list(found.names),
        "tiles": counts,
        "share": counts / len(found.first),
        "mean_probability": pa.array(
            np.divide(total, counts, out=np.full(counts.size, np.nan), where=counts > 0),
            from_pandas=True,
        ),
    }
    write_parquet(path / LABELS, pa.table(labels))
    return [PREDICTIONS, LABELS]


def load_predictions(path: Path, names: tuple[str, ...]) -> Predictions:
    """Read the predictions of a run directory.

    Raises:
        DataError: The file cannot be read.
    """
    table = read_parquet(path / PREDICTIONS)
    second = table["second_label"].fill_null("").to_pylist()
    return Predictions(
        names,
        numbers_of(table["label"].to_pylist(), names),
        table["probability"].to_numpy(),
        numbers_of(second, names),
        table["second_probability"].to_numpy().astype(np.float32),
    )


def save_confusion(path: Path, found: Predictions, truth: NDArray[np.int64]) -> list[str]:
    """Write ``tables/confusion.parquet``: truth, label, tiles, for every pair of classes."""
    import pyarrow as pa

    table = confusion(truth, found.first, len(found.names))
    rows = [
        {"truth": truly, "label": label, "tiles": int(table[i, j])}
        for i, truly in enumerate(found.names)
        for j, label in enumerate(found.names)
    ]
    schema = pa.schema({"truth": pa.string(), "label": pa.string(), "tiles": pa.int64()})
    write_parquet(path / CONFUSION, pa.Table.from_pylist(rows, schema=schema))
    return [CONFUSION]


def accuracy(found: Predictions, truth: NDArray[np.int64]) -> dict[str, Any]:
    """Return how often the most likely class is the true one, JSON-ready.

    "accuracy" is over all judged tiles, "mean_accuracy" the mean over the classes that occur:
    where one class is common, only the second one tells whether the others are found.
    """
    table = confusion(truth, found.first, len(found.names))
    tiles, right = table.sum(axis=1), table.diagonal()
    there = tiles > 0
    return {
        "judged": int(tiles.sum()),
        "accuracy": float(right.sum() / tiles.sum()) if there.any() else None,
        "mean_accuracy": float((right[there] / tiles[there]).mean()) if there.any() else None,
        "classes": {
            name: {"tiles": int(n), "right": int(k), "accuracy": float(k / n) if n else None}
            for name, n, k in zip(found.names, tiles, right, strict=True)
        },
    }


def _names(names: tuple[str, ...], numbers: NDArray[np.int64]) -> Any:
    """Return an Arrow column of names, null for -1."""
    import pyarrow as pa

    codes = pa.array(numbers.astype(np.int32), mask=numbers < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string())).cast(pa.string())
