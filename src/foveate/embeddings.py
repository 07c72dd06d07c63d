"""Embeddings and their encoder.

`Embeddings` is a matrix with the ids of its rows and an `EncoderSpec`. The matrix may be a
memory map of a file larger than memory: it is not copied here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class EncoderSpec:
    """Specification of an encoder: all inputs of an embedding besides the pixels.

    Attributes:
        name: As given to `load_model` ("builtin", "timm:resnet18").
        dim: Length d of one embedding.
        bands: 1-based band numbers read from the raster, in the order of the model's input.
        scale: One ``(low, high)`` per band: raw values are mapped to ``(v - low) / (high - low)``
            before `mean` and `std`. None for a model that takes raw values.
        mean: Per band, subtracted after scaling; empty for none.
        std: Per band, divided by after `mean`; empty for none.
        input_size: ``(height, width)`` in pixels to which a tile is resampled, or None if the
            model accepts tiles of any size.
        resample: Resampling method of tiles ("bilinear", "bicubic").
        precision: Precision of the computation ("float32", "bfloat16"); it affects the third digit
            of the vectors.
        dtype: dtype of the output of the model ("float32").
        gsd: Ground sampling distance expected by the model, in metres; None for any.
        non_negative: Whether every component is at least 0 (needed by feature activation).
        licence: Licence of the weights.
        source: Source of the weights: a file name, a hub id, "no weights".
        fingerprint: Hash of weights and code version; two equal specs give equal embeddings.
        grid: ``(rows, columns)`` of the tokens of a tile, row-major; None for one pooled vector.
    """

    name: str
    dim: int
    bands: tuple[int, ...] = ()
    scale: tuple[tuple[float, float], ...] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    input_size: tuple[int, int] | None = None
    resample: str = "bilinear"
    precision: str = "float32"
    dtype: str = "float32"
    gsd: float | None = None
    non_negative: bool = False
    licence: str = ""
    source: str = ""
    fingerprint: str = ""
    grid: tuple[int, int] | None = None

    @property
    def row(self) -> tuple[int, ...]:
        """Shape of the embedding of one tile: (d,), or (t, d) for t = rows * columns tokens."""
        return (self.dim,) if self.grid is None else (self.grid[0] * self.grid[1], self.dim)

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a spec from the result of `to_dict` (lists are converted to tuples)."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{k: _tuples(v) for k, v in values.items() if k in known})


@dataclass(frozen=True)
class Embeddings:
    """One vector per row, with the ids of the rows.

    Attributes:
        ids: (n,) str, unique.
        x: (n, d), or (n, t, d) for t tokens per row; float16, float32 or float64; may be a
            memory map.
        spec: The encoder.
        constant: (n,) bool, tiles whose valid pixels all have the same value in each band (blank
            or filled areas); None if the pixels are unknown.

    Raises:
        DataError: Lengths are inconsistent, ids are not unique, or `x` is not a float array.
    """

    ids: NDArray[np.str_]
    x: NDArray[np.floating]
    spec: EncoderSpec = field(default_factory=lambda: EncoderSpec(name="given", dim=0))
    constant: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Check shapes, dtype and ids."""
        object.__setattr__(self, "ids", np.asarray(self.ids, dtype=np.str_))
        if self.x.ndim not in (2, 3) or not np.issubdtype(self.x.dtype, np.floating):
            raise DataError(
                f"embeddings of shape {self.x.shape} and dtype {self.x.dtype}",
                "Embeddings must be a float array of shape (n, d), or (n, t, d) for tokens.",
                "Stack one vector per row, e.g. np.stack(vectors).astype('float32').",
            )
        if self.ids.shape != self.x.shape[:1]:
            raise DataError(
                f"{self.ids.size} ids for {self.x.shape[0]} embeddings",
                "There must be one id per row.",
            )
        if self.constant is not None and self.constant.shape != self.ids.shape:
            raise DataError(
                f"{self.constant.size} values of constant for {self.ids.size} embeddings",
                "There must be one bool per row, or None.",
            )
        if np.unique(self.ids).size != self.ids.size:
            raise DataError("the ids of the embeddings are not unique", "Ids must be unique.")

    def __len__(self) -> int:
        """Return the number of rows n."""
        return self.x.shape[0]

    def __repr__(self) -> str:
        """Return a summary in one line."""
        shape = " x ".join(map(str, self.x.shape))
        return f"Embeddings({shape} {self.x.dtype}, {self.spec.name!r})"

    def align(self, ids: Sequence[str] | NDArray[np.str_]) -> NDArray[np.floating]:
        """Return the rows of `x` in the order of `ids`.

        The matrix is returned without a copy if its rows are in this order.

        Raises:
            DataError: An id has no embedding.
        """
        wanted = np.asarray(ids, dtype=np.str_)
        if wanted.shape == self.ids.shape and bool((wanted == self.ids).all()):
            return self.x
        rows = find_rows(self.ids, wanted)
        missing = rows < 0
        if missing.any():
            raise DataError(
                f"{int(missing.sum())} of {wanted.size} tiles have no embedding, "
                f"the first is {str(wanted[missing][0])!r}",
                "Every tile of the pool must have an embedding.",
                "Embed the pool again, or pass the embeddings of this pool.",
            )
        return self.x[rows]


def find_rows(ids: NDArray[np.str_], wanted: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the row of each requested id.

    Args:
        ids: (n,) unique ids, in any order.
        wanted: (m,) ids to look up; they may repeat.

    Returns:
        (m,) int64 rows of `ids`, -1 for ids that do not exist.
    """
    if not ids.size:
        return np.full(wanted.shape, -1)
    order = np.argsort(ids, kind="stable")
    place = np.searchsorted(ids, wanted, sorter=order)
    rows = order[np.minimum(place, ids.size - 1)]
    return np.where(ids[rows] == wanted, rows, -1)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
