"""Features of pairs by frozen encoders: tokens of overviews and of HR tiles.

Both are adapters of a model for `embed` and its shards: an archive is encoded once, encoding
resumes, and features are read from disk. Few tokens per tile are stored (2 x 2 are 12 kB in half
precision at a width of 1,536), with the structural saliency, which is computed from all tokens.

The networks receive projected tokens (`foveate.observe.projection`). The paper has no formula for
structural saliency; here it is the mean difference of neighbouring tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.models.capabilities import capabilities, need
from foveate.models.embed import embed
from foveate.observe._check import check_finite
from foveate.observe.data.pairs import cut_into
from foveate.pool.pool import Pool
from foveate.raster.windows import taps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.capabilities import Embeds
    from foveate.observe.data.pairs import Pairs
    from foveate.pool.pool import Scene
    from foveate.progress import ProgressFn
    from foveate.run import Run

_BLOCK = 8192  # tiles per block of the saliency computation
_LONGEST = 1024  # maximum input side in pixels; larger overviews are resized
_CONTEXT = 1  # margin in cells of the context crop, for models without tokens
_PARTS = 2  # crops along a side of a tile, for models without tokens
_OVERVIEWS_AT_ONCE = 4
_BLOCKS_AT_ONCE = 16
_VALUES_AT_ONCE = 2**24  # token values per batch of overviews: 64 MB, times a few copies


@dataclass(frozen=True)
class Encoder:
    """A frozen encoder of an observer.

    Attributes:
        name: Name for `load_model`.
        weights: Weights file, relative to the folder of the observer, or empty.
        spec: Specification of the encoder in training.
        dtype: dtype of the imagery in training.
    """

    name: str
    weights: str
    spec: EncoderSpec
    dtype: str


class OverviewTokens:
    """Encoder adapter for overviews: a fixed number of tokens for each tile of the grid.

    A model with tokens encodes the whole overview, resized to one token per cell if the model
    accepts any size. A model without tokens encodes each cell twice, alone and with its
    neighbours. An overview of more tiles than `max_tiles` is encoded in blocks.

    Args:
        model: The LR encoder.
        tiles: ``(R, C)`` of the scene.
        side: LR tokens along the side of a tile.
        max_tiles: Maximum rows and columns of tiles per model input; None: no limit.
    """

    def __init__(
        self, model: Embeds, tiles: tuple[int, int], side: int,
        max_tiles: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        self._grid, self._side = (tiles[0] * side, tiles[1] * side), side
        block = (
            tiles
            if max_tiles is None
            else (min(tiles[0], max_tiles[0]), min(tiles[1], max_tiles[1]))
        )
        self._block: OverviewTokens | None = None
        if block != tiles:
            self._block = OverviewTokens(model, block, side)
            self.width, spec = self._block.width, self._block.spec
            name = f"{model.spec.name}#blocks-{block[0]}x{block[1]}"
            self.spec = self._spec(spec, name)
            return
        self._tokens = "tokens" in capabilities(model)
        self._model: Any = model
        if self._tokens and "sizes" in capabilities(model):
            sides = [n * self._model.size_step for n in self._grid]
            if max(sides) <= _LONGEST:
                self._model = self._model.at_size((sides[0], sides[1]))
        spec = self._model.spec
        self.width = self._model.token_spec.dim if self._tokens else 2 * spec.dim
        self.spec: EncoderSpec = self._spec(spec, spec.name)

    def _spec(self, spec: EncoderSpec, name: str) -> EncoderSpec:
        rows, cols = self._grid
        return replace(
            spec, name=f"{name}#overview-{rows}x{cols}", dim=rows * cols * self.width,
            non_negative=False,
        )  # fmt: skip

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return (b, R * r * C * r * width) float32 tokens of (b, c, h, w) overviews."""
        if self._block is not None:
            tokens = np.stack([self._blocks(image, self._block) for image in batch])
        elif self._tokens:
            tokens = resample_tokens(self._model.tokens(batch), self._grid)
        else:
            tokens = np.stack([self._cells(image) for image in batch])
        return np.ascontiguousarray(tokens.reshape(len(batch), -1), np.float32)

    def _blocks(self, image: NDArray[Any], block: OverviewTokens) -> NDArray[np.float32]:
        """Return (R * r, C * r, width) tokens, encoded in blocks; the last blocks may overlap."""
        result = np.empty((*self._grid, self.width), np.float32)
        by_shape: dict[tuple[int, ...], list[tuple[NDArray[Any], tuple[slice, slice]]]] = {}
        row_spans, col_spans = (
            _spans(n, b, self._side, s)
            for n, b, s in zip(self._grid, block._grid, image.shape[1:], strict=True)
        )
        for rows, y in row_spans:
            for cols, x in col_spans:
                part = image[:, y, x]
                by_shape.setdefault(part.shape, []).append((part, (rows, cols)))
        for parts in by_shape.values():
            for start in range(0, len(parts), _BLOCKS_AT_ONCE):
                batch = parts[start : start + _BLOCKS_AT_ONCE]
                tokens = block.unpack(block.embed(np.stack([part for part, _ in batch])))
                for (_, index), values in zip(batch, tokens, strict=True):
                    result[index] = values
        return result

    def _cells(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return (cells, width) embeddings of each cell, alone and with its neighbours."""
        edges = [np.arange(n + 1) * s / n for n, s in zip(self._grid, image.shape[1:], strict=True)]
        cells = []
        for i in range(self._grid[0]):
            for j in range(self._grid[1]):
                views = [_cut(image, edges, (i, j), margin) for margin in (0, _CONTEXT)]
                cells.append(np.concatenate([self._model.embed(v[None])[0] for v in views]))
        return np.array(cells)

    def unpack(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """Reshape the output of `embed` to (s, R * r, C * r, width)."""
        return x.reshape(len(x), *self._grid, self.width)


class TileTokens:
    """Encoder adapter for HR tiles: averaged tokens, optionally the embedding, and saliency.

    Args:
        model: The HR encoder. For a model without tokens, a tile is cut into four crops.
        side: HR tokens stored along the side of a tile.
        vector: Whether to store the embedding of the whole tile, too.
    """

    def __init__(self, model: Embeds, side: int, *, vector: bool = False) -> None:
        self._model: Any = model
        self._tokens = "tokens" in capabilities(model)
        self._side, self._vector = side, model.spec.dim if vector else 0
        self.width = self._model.token_spec.dim if self._tokens else model.spec.dim
        what = "+vector" if vector else ""
        self.spec: EncoderSpec = replace(
            model.spec, name=f"{model.spec.name}#tile-{side}x{side}{what}",
            dim=side * side * self.width + self._vector + 1, non_negative=False,
        )  # fmt: skip

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return (b, dim) float32 of (b, c, h, w) tiles: tokens, embedding, saliency."""
        tokens = self._model.tokens(batch) if self._tokens else self._crops(batch)
        saliency = structural_saliency(tokens)
        parts = [resample_tokens(tokens, (self._side, self._side)).reshape(len(batch), -1)]
        if self._vector:
            parts.append(self._model.embed(batch))
        return np.concatenate([*parts, saliency[:, None]], axis=1).astype(np.float32)

    def _crops(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return (b, 2, 2, d) embeddings of the quarters of tiles."""
        edges = [np.arange(_PARTS + 1) * s / _PARTS for s in batch.shape[2:]]
        rows = [
            [self._model.embed(_cut(batch, edges, (i, j), 0)) for j in range(_PARTS)]
            for i in range(_PARTS)
        ]
        return np.array(rows).transpose(2, 0, 1, 3)

    def unpack(
        self, x: NDArray[np.floating]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating] | None, NDArray[np.floating]]:
        """Split the output of `embed`: tokens (n, k * k, width), vectors (n, e), saliency (n,)."""
        end = self._side**2 * self.width
        tokens = x[:, :end].reshape(len(x), self._side**2, self.width)
        return tokens, x[:, end:-1] if self._vector else None, x[:, -1]


def resample_tokens(tokens: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resample tokens to another grid of the same extent.

    Area-weighted along an axis that is downsampled, bilinear along an axis that is upsampled.

    Args:
        tokens: (b, gh, gw, d).
        shape: Rows and columns of the new grid.

    Returns:
        (b, *shape, d) float32.
    """
    result = np.asarray(tokens, np.float32)
    for axis, new in ((1, shape[0]), (2, shape[1])):
        old = result.shape[axis]
        if old == new:
            continue
        index, weight = taps(np.arange(new + 1) * old / new, old / new, (0, old))
        part = np.take(result, index, axis=axis)  # the axis becomes two: taps, new positions
        shaped = weight.astype(np.float32).reshape(
            *(1,) * axis, *weight.shape, *(1,) * (result.ndim - axis - 1)
        )
        result = (part * shaped).sum(axis=axis)
    return result


def _spans(tokens: int, block: int, side: int, pixels: int) -> list[tuple[slice, slice]]:
    """Return token and pixel slices of the blocks along an axis; the last block is shifted back."""
    starts = [*range(0, tokens - block, block), tokens - block]
    edges = np.rint(np.arange(tokens // side + 1) * pixels * side / tokens).astype(int)
    spans = []
    for start in starts:
        low, high = int(edges[start // side]), int(edges[(start + block) // side])
        spans.append((slice(start, start + block), slice(low, max(low + 1, high))))
    return spans


def _cut(
    image: NDArray[Any], edges: list[NDArray[np.float64]], cell: tuple[int, int], margin: int
) -> NDArray[Any]:
    """Return the pixels of a cell of (..., h, w), with a margin in cells, clipped at the edges."""
    spans = []
    for edge, at in zip(edges, cell, strict=True):
        low, high = max(0, at - margin), min(len(edge) - 1, at + 1 + margin)
        start = math.floor(edge[low])
        spans.append(slice(start, max(start + 1, math.ceil(edge[high]))))
    return image[..., spans[0], spans[1]]


@dataclass(frozen=True)
class TileFeatures:
    """Stored features of HR tiles.

    Attributes:
        tokens: (n, k * k, width) float16, row-major.
        vectors: (n, e) float16 embeddings of whole tiles, or None.
        saliency: (n,) float16 structural saliency.
        spec: Specification of the encoder adapter.
    """

    tokens: NDArray[np.floating]
    vectors: NDArray[np.floating] | None
    saliency: NDArray[np.floating]
    spec: EncoderSpec


def encode_overviews(
    pairs: Pairs, model: Embeds, side: int, *, run: Run | None = None,
    progress: ProgressFn | None = None,
) -> NDArray[np.floating]:  # fmt: skip
    """Encode the overviews; no HR pixel is read.

    Args:
        pairs: The pairs.
        model: The LR encoder, bound to the overviews.
        side: LR tokens along the side of a tile.
        run: Run that caches the tokens, or None.
        progress: Progress callback.

    Returns:
        (s, R * r, C * r, width) float16, of the largest grid; smaller scenes are padded by
        reflection, so that their edge tiles have similar neighbours.
    """
    grids, whole = set(pairs.grids), np.empty(0, np.float16)
    for grid in sorted(grids):
        numbers = [number for number, shape in enumerate(pairs.grids) if shape == grid]
        scenes = [pairs.overviews[number] for number in numbers]
        pool = overview_pool(scenes)
        tokens = encode_windows(pool, model, grid, side, run=run, progress=progress)
        order = rows_by_scene(pool, scenes)
        tokens = tokens if np.array_equal(order, np.arange(len(order))) else tokens[order]
        if len(grids) == 1:
            return tokens
        margin = [(0, (full - n) * side) for full, n in zip(pairs.shape, grid, strict=True)]
        padded = np.pad(tokens, [(0, 0), *margin, (0, 0)], mode="symmetric")
        if not whole.size:
            whole = np.empty((len(pairs.overviews), *padded.shape[1:]), tokens.dtype)
        whole[numbers] = padded
    return whole


def encode_windows(
    pool: Pool, model: Embeds, tiles: tuple[int, int], side: int, *,
    max_tiles: tuple[int, int] | None = None, run: Run | None = None,
    progress: ProgressFn | None = None,
) -> NDArray[np.floating]:  # fmt: skip
    """Encode windows of overviews, all of one grid shape.

    Args:
        pool: The windows: whole overviews, or parts of large overviews.
        model: The LR encoder, bound to the windows.
        tiles: ``(R, C)`` of each window.
        side: LR tokens along the side of a tile.
        max_tiles: Maximum rows and columns of tiles per model input; None: no limit.
        run: Run that caches the tokens, or None.
        progress: Progress callback.

    Returns:
        (n, R * r, C * r, width) float16 in the order of the pool, possibly a memory map.
    """
    adapter = OverviewTokens(need(model, "embed", "observe"), tiles, side, max_tiles)
    at_once = max(1, min(_OVERVIEWS_AT_ONCE, _VALUES_AT_ONCE // adapter.spec.dim))
    embeddings = embed(pool, adapter, run=run, batch_size=at_once, progress=progress)
    return adapter.unpack(embeddings.x)


def encode_tiles(
    pairs: Pairs, model: Embeds, side: int, *, vector: bool = False, run: Run | None = None,
    batch_size: int = 32, progress: ProgressFn | None = None,
) -> TileFeatures:  # fmt: skip
    """Encode the HR tiles.

    Args:
        pairs: The pairs.
        model: The HR encoder, bound to the tiles.
        side: HR tokens stored along the side of a tile.
        vector: Whether to store the embedding of each whole tile.
        run: Run that caches the features, or None.
        batch_size: Tiles per batch of the model.
        progress: Progress callback.
    """
    adapter = TileTokens(need(model, "embed", "observe"), side, vector=vector)
    embeddings = embed(pairs.pool, adapter, run=run, batch_size=batch_size, progress=progress)
    return TileFeatures(*adapter.unpack(embeddings.x), spec=adapter.spec)


def overview_pool(scenes: Sequence[Scene]) -> Pool:
    """Return overviews as a pool of one tile per scene."""
    return cut_into(Pool(np.array([], np.str_), tuple(scenes)), [(1, 1)] * len(scenes))


def rows_by_scene(pool: Pool, scenes: Sequence[Scene]) -> NDArray[np.int64]:
    """Return the rows of a pool of one tile per scene, in the order of `scenes`."""
    assert pool.tiles is not None  # noqa: S101  (cut from overviews)
    row = {name: i for i, name in enumerate(pool.tiles.scene.tolist())}
    return np.array([row[scene.scene_id] for scene in scenes])


def structural_saliency(tokens: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the mean of 1 - cosine similarity over neighbouring tokens (s_vis).

    Args:
        tokens: (n, gh, gw, D) float, the tokens of n HR tiles, gh * gw >= 2.

    Returns:
        (n,) in [0, 2]; 0 for a homogeneous tile. Pairs with a token of norm 0 count as equal.

    Raises:
        DataError: The shape is different, there is one token per tile, or values are not finite.
    """
    if tokens.ndim != 4 or tokens.shape[1] * tokens.shape[2] < 2:
        raise DataError(
            f"tokens of shape {tokens.shape}",
            "Expected (tiles, rows, columns, D) with at least two tokens per tile.",
        )
    result = np.zeros(len(tokens))
    for start in range(0, len(tokens), _BLOCK):
        t = np.array(tokens[start : start + _BLOCK], np.float64, order="C")
        check_finite(t, "tokens")
        length = np.sqrt((t * t).sum(axis=-1, keepdims=True))
        unit = t / np.where(length > 0, length, 1)
        nonzero = length[..., 0] > 0
        down = (1 - (unit[:, 1:] * unit[:, :-1]).sum(-1)) * (nonzero[:, 1:] & nonzero[:, :-1])
        right = 1 - (unit[:, :, 1:] * unit[:, :, :-1]).sum(-1)
        right *= nonzero[:, :, 1:] & nonzero[:, :, :-1]
        pairs = np.concatenate([down.reshape(len(t), -1), right.reshape(len(t), -1)], axis=1)
        result[start : start + _BLOCK] = pairs.mean(axis=1).clip(0, 2)
    return result
