"""Tables of shards: vectors in float16, with the ids of their tiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec

CONSTANT = "constant"  # column of `Embeddings.constant`
_LARGEST = float(np.finfo(np.float16).max)
_SMALLEST = float(np.finfo(np.float16).tiny)  # smaller values lose precision or become 0


def to_half(ids: NDArray[np.str_], x: NDArray[np.floating]) -> NDArray[np.float16]:
    """Convert vectors to contiguous float16.

    Args:
        ids: (n,) tile ids, for messages.
        x: (n, d) or (n, t, d) finite values.

    Raises:
        DataError: A value is not finite in float16, or the values are not all 0 but all are smaller
            in magnitude than the smallest normal float16.
    """
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
    bad = ~np.isfinite(flat).all(axis=1) | (np.abs(flat) > _LARGEST).any(axis=1)
    if bad.any():
        raise DataError(
            f"the embedding of {str(ids[bad][0])!r} (and of {int(bad.sum()) - 1} more) holds NaN "
            f"or values beyond {_LARGEST:.0f}",
            "Embeddings are stored as float16.",
            "Normalise the output of the model.",
        )
    largest = float(np.abs(flat).max(initial=0))
    if 0 < largest < _SMALLEST:
        raise DataError(
            f"all features of {len(x)} tiles from {str(ids[0])!r} on are at most {largest:.3g}",
            f"Embeddings are stored as float16, which loses precision below {_SMALLEST:.2g}.",
            "Normalise the output of the model.",
        )
    return np.ascontiguousarray(x, np.float16)


def to_table(
    ids: NDArray[np.str_], x: NDArray[np.floating], spec: EncoderSpec,
    constant: NDArray[np.bool_] | None,
) -> Any:  # fmt: skip
    """Return the table of a shard; see `ShardStore.put`."""
    import pyarrow as pa

    flat = pa.array(to_half(ids, x).ravel(), pa.float16())
    vectors = pa.FixedSizeListArray.from_arrays(flat, math.prod(spec.row))
    columns = {"tile_id": pa.array(ids.astype(object), pa.string()), "embedding": vectors}
    return pa.table(columns if constant is None else {**columns, CONSTANT: pa.array(constant)})


def constant_of(tables: list[Any]) -> NDArray[np.bool_] | None:
    """Return the column of constant tiles; None if a shard does not have it."""
    if not tables or any(CONSTANT not in table.column_names for table in tables):
        return None
    return np.concatenate([table[CONSTANT].to_numpy() for table in tables])


def vectors_of(table: Any, row: tuple[int, ...]) -> NDArray[np.float16]:
    """Return the vectors of a table, (m, *row) float16."""
    column = table["embedding"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, *row)
