"""Files of a classify run: predictions and the tables of its report."""

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
    predictions: Predictions,
    truth: NDArray[np.int64] | None,
    about: Mapping[str, Any],
) -> list[str]:
    """Write the predictions of tiles.

    ``predictions.parquet``, one row per tile: tile_id, scene, y, x, h, w, label, probability,
    second_label, second_probability; truth if it is known; geometry (WKB, longitude and latitude)
    if the scenes are georeferenced, as GeoParquet. ``tables/labels.parquet``: label, tiles, share,
    mean_probability.

    Args:
        path: Run directory.
        pool: The pool.
        predictions: Predictions of the rows of the pool.
        truth: (n,) class numbers, -1 if unknown; or None.
        about: JSON-ready facts for the footer.

    Returns:
        The files, relative to `path`.
    """
    import pyarrow as pa

    tiles = tiles_table(pool)
    table = tiles.select(["tile_id", "scene", "y", "x", "h", "w"])
    columns = {
        "label": _names(predictions.names, predictions.first),
        "probability": pa.array(predictions.probability),
        "second_label": _names(predictions.names, predictions.second),
        "second_probability": pa.array(predictions.second_probability, from_pandas=True),
    }
    if truth is not None:
        columns["truth"] = _names(predictions.names, truth)
    if pool.georeferenced:
        columns["geometry"] = tiles["geometry"]
    for name, column in columns.items():
        table = table.append_column(name, column)
    footer = {"schema": SCHEMA, "labels": list(predictions.names), **about}
    table = table.replace_schema_metadata({_FOOTER: json.dumps(footer, sort_keys=True).encode()})
    geo = {"geometry": None} if pool.georeferenced else None
    write_parquet(path / PREDICTIONS, table, geo=geo)
    counts = predictions.counts()
    total = np.bincount(
        predictions.first, weights=predictions.probability, minlength=len(predictions.names)
    )
    labels = {
        "label": list(predictions.names),
        "tiles": counts,
        "share": counts / len(predictions.first),
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


def save_confusion(path: Path, predictions: Predictions, truth: NDArray[np.int64]) -> list[str]:
    """Write ``tables/confusion.parquet``: truth, label, tiles, for every pair of classes."""
    import pyarrow as pa

    table = confusion(truth, predictions.first, len(predictions.names))
    rows = [
        {"truth": true, "label": label, "tiles": int(table[i, j])}
        for i, true in enumerate(predictions.names)
        for j, label in enumerate(predictions.names)
    ]
    schema = pa.schema({"truth": pa.string(), "label": pa.string(), "tiles": pa.int64()})
    write_parquet(path / CONFUSION, pa.Table.from_pylist(rows, schema=schema))
    return [CONFUSION]


def accuracy(predictions: Predictions, truth: NDArray[np.int64]) -> dict[str, Any]:
    """Return the accuracy of the predictions, JSON-ready.

    "accuracy" is over all tiles with a true class, "mean_accuracy" is the mean over the present
    classes (balanced accuracy), which is informative if one class dominates.
    """
    table = confusion(truth, predictions.first, len(predictions.names))
    tiles, right = table.sum(axis=1), table.diagonal()
    present = tiles > 0
    return {
        "judged": int(tiles.sum()),
        "accuracy": float(right.sum() / tiles.sum()) if present.any() else None,
        "mean_accuracy": float((right[present] / tiles[present]).mean()) if present.any() else None,
        "classes": {
            name: {"tiles": int(n), "right": int(k), "accuracy": float(k / n) if n else None}
            for name, n, k in zip(predictions.names, tiles, right, strict=True)
        },
    }


def _names(names: tuple[str, ...], numbers: NDArray[np.int64]) -> Any:
    """Return an Arrow column of names, null for -1."""
    import pyarrow as pa

    codes = pa.array(numbers.astype(np.int32), mask=numbers < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string())).cast(pa.string())
