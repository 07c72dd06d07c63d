"""Features of pairs by frozen encoders: tokens of overviews and of HR tiles.

Both are adapters around a model, so that `embed` runs them with its shards: an archive is encoded
once, resumes after a stop, and is read from disk. A tile keeps few tokens (2 x 2 are 12 kB in half
precision at a width of 1,536) with its structural saliency, which needs all of them.

The networks get projections of them (`foveate.observe.projection`). Structural saliency has no
formula in the paper: here it is how much neighbouring tokens differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.models.capabilities import capabilities, need
from foveate.models.embed import embed
from foveate.observe._check import known
from foveate.observe.pairs import cut_into
from foveate.pool.pool import Pool
from foveate.raster.windows import taps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.capabilities import Embeds
    from foveate.observe.pairs import Pairs
    from foveate.pool.pool import Scene
    from foveate.progress import ProgressFn
    from foveate.run import Run

_BLOCK = 8192  # tiles whose saliency is computed at once
_LONGEST = 1024  # pixels of an input's side: beyond, an overview is shown smaller
_CONTEXT = 1  # cells around one that a model without tokens is shown
_PARTS = 2  # a tile is cut into so many parts a side for a model without tokens
_OVERVIEWS_AT_ONCE = 4
_BLOCKS_AT_ONCE = 16
_VALUES_AT_ONCE = 2**24  # of tokens of overviews: 64 MB, several times over


@dataclass(frozen=True)
class Encoder:
    """A frozen model that an observer reads imagery with.

    Attributes:
        name: For `load_model`.
        weights: Its weights, relative to the observer's folder, or empty.
        spec: Its spec when the observer was trained.
        dtype: dtype of the imagery that it read.
    """

    name: str
    weights: str
    spec: EncoderSpec
    dtype: str


class OverviewTokens:
    """The tokens of an overview, a fixed number for each tile of its grid.

    A model that gives tokens sees the whole overview, at a size that makes one token of each cell
    where it takes any size. Another one is shown each cell twice, alone and with its neighbours.
    An overview of more tiles than `most` is shown block by block.

    Args:
        model: The LR encoder.
        tiles: ``(R, C)`` of the scene.
        side: LR tokens along the side of a tile.
        most: Tiles down and across that the model is shown at once; all when None.
    """

    def __init__(
        self, model: Embeds, tiles: tuple[int, int], side: int,
        most: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        self._grid, self._side = (tiles[0] * side, tiles[1] * side), side
        block = tiles if most is None else (min(tiles[0], most[0]), min(tiles[1], most[1]))
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
            found = np.stack([self._blocks(image, self._block) for image in batch])
        elif self._tokens:
            found = resample_tokens(self._model.tokens(batch), self._grid)
        else:
            found = np.stack([self._cells(image) for image in batch])
        return np.ascontiguousarray(found.reshape(len(batch), -1), np.float32)

    def _blocks(self, image: NDArray[Any], block: OverviewTokens) -> NDArray[np.float32]:
        """Return (R * r, C * r, width), block by block; the last ones overlap those before."""
        found = np.empty((*self._grid, self.width), np.float32)
        waiting: dict[tuple[int, ...], list[tuple[NDArray[Any], tuple[slice, slice]]]] = {}
        down, across = (
            _spans(n, b, self._side, s)
            for n, b, s in zip(self._grid, block._grid, image.shape[1:], strict=True)
        )
        for rows, tall in down:
            for cols, wide in across:
                part = image[:, tall, wide]
                waiting.setdefault(part.shape, []).append((part, (rows, cols)))
        for parts in waiting.values():
            for start in range(0, len(parts), _BLOCKS_AT_ONCE):
                some = parts[start : start + _BLOCKS_AT_ONCE]
                tokens = block.unpack(block.embed(np.stack([part for part, _ in some])))
                for (_, place), values in zip(some, tokens, strict=True):
                    found[place] = values
        return found

    def _cells(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return (cells, width): each cell alone, and with those around it."""
        edges = [np.arange(n + 1) * s / n for n, s in zip(self._grid, image.shape[1:], strict=True)]
        found = []
        for i in range(self._grid[0]):
            for j in range(self._grid[1]):
                views = [_cut(image, edges, (i, j), margin) for margin in (0, _CONTEXT)]
                found.append(np.concatenate([self._model.embed(v[None])[0] for v in views]))
        return np.array(found)

    def unpack(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (s, R * r, C * r, width) of what `embed` has given."""
        return x.reshape(len(x), *self._grid, self.width)


class TileTokens:
    """The tokens of an HR tile, averaged to few, with saliency and the tile's own vector.

    Args:
        model: The HR encoder. A tile is cut into four for one that gives no tokens.
        side: HR tokens kept along the side of a tile.
        vector: Whether to keep the model's embedding of the whole tile, too.
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
        """Return (b, dim) float32 of (b, c, h, w) tiles: tokens, vector, saliency."""
        tokens = self._model.tokens(batch) if self._tokens else self._parts(batch)
        saliency = structural_saliency(tokens)
        parts = [resample_tokens(tokens, (self._side, self._side)).reshape(len(batch), -1)]
        if self._vector:
            parts.append(self._model.embed(batch))
        return np.concatenate([*parts, saliency[:, None]], axis=1).astype(np.float32)

    def _parts(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return (b, 2, 2, d): the quarters of tiles."""
        edges = [np.arange(_PARTS + 1) * s / _PARTS for s in batch.shape[2:]]
        rows = [
            [self._model.embed(_cut(batch, edges, (i, j), 0)) for j in range(_PARTS)]
            for i in range(_PARTS)
        ]
        return np.array(rows).transpose(2, 0, 1, 3)

    def unpack(
        self, x: NDArray[np.floating]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating] | None, NDArray[np.floating]]:
        """Return tokens (n, k * k, width), vectors (n, e) or None, and saliency (n,)."""
        end = self._side**2 * self.width
        tokens = x[:, :end].reshape(len(x), self._side**2, self.width)
        return tokens, x[:, end:-1] if self._vector else None, x[:, -1]


def resample_tokens(tokens: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Bring tokens to another grid over the same ground.

    By area along an axis that gets fewer of them, bilinear along one that gets more.

    Args:
        tokens: (b, gh, gw, d).
        shape: Tokens down and across.

    Returns:
        (b, *shape, d) float32.
    """
    found = np.asarray(tokens, np.float32)
    for axis, new in ((1, shape[0]), (2, shape[1])):
        old = found.shape[axis]
        if old == new:
            continue
        index, weight = taps(np.arange(new + 1) * old / new, old / new, (0, old))
        part = np.take(found, index, axis=axis)  # the taps come before the places
        shaped = weight.astype(np.float32).reshape(
            *(1,) * axis, *weight.shape, *(1,) * (found.ndim - axis - 1)
        )
        found = (part * shaped).sum(axis=axis)
    return found


def _spans(tokens: int, block: int, side: int, pixels: int) -> list[tuple[slice, slice]]:
    """Return tokens and pixels of the blocks along an axis; the last one is moved back inside."""
    starts = [*range(0, tokens - block, block), tokens - block]
    edges = np.rint(np.arange(tokens // side + 1) * pixels * side / tokens).astype(int)
    found = []
    for start in starts:
        low, high = int(edges[start // side]), int(edges[(start + block) // side])
        found.append((slice(start, start + block), slice(low, max(low + 1, high))))
    return found


def _cut(
    image: NDArray[Any], edges: list[NDArray[np.float64]], cell: tuple[int, int], margin: int
) -> NDArray[Any]:
    """Return the pixels of a cell of (..., h, w), with so many cells around it as there are."""
    spans = []
    for edge, at in zip(edges, cell, strict=True):
        low, high = max(0, at - margin), min(len(edge) - 1, at + 1 + margin)
        start = math.floor(edge[low])
        spans.append(slice(start, max(start + 1, math.ceil(edge[high]))))
    return image[..., spans[0], spans[1]]


@dataclass(frozen=True)
class TileFeatures:
    """What an encoder made of the HR tiles, as stored.

    Attributes:
        tokens: (n, k * k, width) float16, row-major.
        vectors: (n, e) float16 embeddings of whole tiles, or None.
        saliency: (n,) float16 structural saliency.
        spec: The encoder and what was kept.
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
        run: Keeps the tokens.
        progress: Called with ticks.

    Returns:
        (s, R * r, C * r, width) float16, of the largest grid; a scene of fewer tiles is continued
        by its own mirror image, so that its edge tiles have neighbours of their kind.
    """
    grids, whole = set(pairs.grids), np.empty(0, np.float16)
    for grid in sorted(grids):
        numbers = [number for number, own in enumerate(pairs.grids) if own == grid]
        scenes = [pairs.overviews[number] for number in numbers]
        pool = _whole(scenes)
        found = encode_windows(pool, model, grid, side, run=run, progress=progress)
        order = rows_by_scene(pool, scenes)
        found = found if np.array_equal(order, np.arange(len(order))) else found[order]
        if len(grids) == 1:
            return found
        more = [(0, (n - own) * side) for n, own in zip(pairs.shape, grid, strict=True)]
        filled = np.pad(found, [(0, 0), *more, (0, 0)], mode="symmetric")
        if not whole.size:
            whole = np.empty((len(pairs.overviews), *filled.shape[1:]), found.dtype)
        whole[numbers] = filled
    return whole


def encode_windows(
    pool: Pool, model: Embeds, tiles: tuple[int, int], side: int, *,
    most: tuple[int, int] | None = None, run: Run | None = None,
    progress: ProgressFn | None = None,
) -> NDArray[np.floating]:  # fmt: skip
    """Encode windows of overviews, all of one grid.

    Args:
        pool: The windows: whole overviews, or parts of large ones.
        model: The LR encoder, bound to them.
        tiles: ``(R, C)`` of each.
        side: LR tokens along the side of a tile.
        most: Tiles down and across that the model is shown at once; all when None.
        run: Keeps the tokens.
        progress: Called with ticks.

    Returns:
        (n, R * r, C * r, width) float16 in the order of the pool, possibly a memory map.
    """
    adapter = OverviewTokens(need(model, "embed", "observe"), tiles, side, most)
    at_once = max(1, min(_OVERVIEWS_AT_ONCE, _VALUES_AT_ONCE // adapter.spec.dim))
    found = embed(pool, adapter, run=run, batch_size=at_once, progress=progress)
    return adapter.unpack(found.x)


def encode_tiles(
    pairs: Pairs, model: Embeds, side: int, *, vector: bool = False, run: Run | None = None,
    batch_size: int = 32, progress: ProgressFn | None = None,
) -> TileFeatures:  # fmt: skip
    """Encode the HR tiles.

    Args:
        pairs: The pairs.
        model: The HR encoder, bound to the tiles.
        side: HR tokens kept along the side of a tile.
        vector: Whether to keep the embedding of each whole tile.
        run: Keeps what is encoded.
        batch_size: Tiles per call of the model.
        progress: Called with ticks.
    """
    adapter = TileTokens(need(model, "embed", "observe"), side, vector=vector)
    found = embed(pairs.pool, adapter, run=run, batch_size=batch_size, progress=progress)
    return TileFeatures(*adapter.unpack(found.x), spec=adapter.spec)


def overview_pool(pairs: Pairs) -> Pool:
    """Return the overviews as a pool, each of them one tile."""
    return _whole(pairs.overviews)


def _whole(scenes: Sequence[Scene]) -> Pool:
    return cut_into(Pool(np.array([], np.str_), tuple(scenes)), [(1, 1)] * len(scenes))


def rows_by_scene(pool: Pool, scenes: Sequence[Scene]) -> NDArray[np.int64]:
    """Return the rows of the pool in the order of some scenes."""
    assert pool.tiles is not None  # noqa: S101  (cut from overviews)
    place = {name: i for i, name in enumerate(pool.tiles.scene.tolist())}
    return np.array([place[scene.scene_id] for scene in scenes])


def structural_saliency(tokens: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean of 1 - cosine over the pairs of tokens that are neighbours (s_vis).

    Args:
        tokens: (n, gh, gw, D) float, the tokens of n HR tiles, gh * gw >= 2.

    Returns:
        (n,) in [0, 2]; 0 for a tile that is the same everywhere. A token of length 0 has no
        direction: its pairs count as equal.

    Raises:
        DataError: Another shape, one token a tile, or numbers that are not finite.
    """
    if tokens.ndim != 4 or tokens.shape[1] * tokens.shape[2] < 2:
        raise DataError(
            f"tokens of shape {tokens.shape}", "Expected (tiles, down, across, D), two a tile."
        )
    result = np.zeros(len(tokens))
    for start in range(0, len(tokens), _BLOCK):
        t = np.array(tokens[start : start + _BLOCK], np.float64, order="C")
        known(t, "tokens")
        length = np.sqrt((t * t).sum(axis=-1, keepdims=True))
        unit = t / np.where(length > 0, length, 1)
        there = length[..., 0] > 0
        down = (1 - (unit[:, 1:] * unit[:, :-1]).sum(-1)) * (there[:, 1:] & there[:, :-1])
        right = 1 - (unit[:, :, 1:] * unit[:, :, :-1]).sum(-1)
        right *= there[:, :, 1:] & there[:, :, :-1]
        pairs = np.concatenate([down.reshape(len(t), -1), right.reshape(len(t), -1)], axis=1)
        result[start : start + _BLOCK] = pairs.mean(axis=1).clip(0, 2)
    return result
