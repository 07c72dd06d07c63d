"""Suites that any extension must pass: a method, a model, a source.

    from foveate.testing import check_method, check_model, check_source

Each suite makes its own small data, raises `CheckFailed` at the first broken rule and returns
nothing when all hold. They need no test framework, and torch only where the model under test has
loaded it.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate import get_method, rank
from foveate.embeddings import Embeddings, EncoderSpec
from foveate.errors import FoveateError
from foveate.grid import Grid, Window
from foveate.models import ModelHandle, bind, embed, parse_name
from foveate.pool import Pool, Scene
from foveate.raster import ArraySource

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from foveate.curate import Method
    from foveate.models import Embeds
    from foveate.raster import Raster, Source
    from foveate.selection import Ranking

__all__ = ["CheckFailed", "check_method", "check_model", "check_source"]

_N, _C, _D, _TILES = 16, 5, 6, 4
_HALF = float(np.finfo(np.float16).max)


class CheckFailed(FoveateError, AssertionError):  # noqa: N818  (it reads: the check failed)
    """An extension breaks a rule; the text names the rule and where it broke."""


def _need(holds: object, rule: str, where: str = "", found: str = "") -> None:
    if not holds:
        raise CheckFailed(rule + (f" ({where})" if where else ""), found)


# --- methods -------------------------------------------------------------------------------


def check_method(method: str | Method, *, seed: int = 0, **options: Any) -> None:
    """Check a ranking method.

    It must rank a whole pool (or exactly to the depth asked for) without repeating a row, the
    same way under the same seed whatever the order of the rows and the storage of the
    embeddings, break ties by the seed and not by row, cope with tiny, constant and repeated
    items, refuse NaN, leave its inputs and all global random state alone, and report only what
    JSON can hold.

    Args:
        method: The method, or its name.
        seed: Seed of the suite's data and of the rankings.
        options: Options to rank with.

    Raises:
        CheckFailed: A rule is broken.
        FoveateError: The method refuses a pool of the suite.
    """
    chosen = get_method(method)
    trial = _MethodTrial(chosen, seed, options)
    trial.rank(*_pools(seed)["mixed"])  # libraries draw when they are loaded: not its doing
    with _untouched_random_state(chosen.name):
        for name, (counts, x) in _pools(seed).items():
            trial.check_pool(name, counts, x)
        counts, x = _pools(seed)["mixed"]
        trial.check_seeds(counts, x)
        trial.check_storage(counts, x)
        trial.check_constant()
        if chosen.needs == ("counts",):
            trial.check_unlabelled(counts)
        if "embeddings" in chosen.needs:
            trial.check_nan(x)


def _pools(seed: int) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float16]]]:
    """Name -> counts (n, C) and embeddings (n, d); values of float16, so that casts are exact."""
    draw = np.random.default_rng([seed, 1])
    counts = draw.integers(0, 100, (_N, _C)) * (draw.random((_N, _C)) < 0.6)
    counts[3] = counts[11] = 0  # nothing counted
    counts[5] = counts[6]
    x = draw.gamma(1.0, size=(_N, _D)).astype(np.float16)
    x[8] = x[9]
    copies = np.repeat(counts[:1] + 1, _N, axis=0), np.repeat(x[:1], _N, axis=0)
    return {
        "mixed": (counts, x),
        "one row": (counts[:1], x[:1]),
        "two rows": (counts[:2], x[:2]),
        "copies of one row": copies,
        "three distinct rows": (counts[np.arange(_N) % 3], x[np.arange(_N) % 3]),
        "zeros": (np.zeros((_N, _C), np.int64), np.zeros((_N, _D), np.float16)),
        "one class": (np.full((_N, 1), 7), np.ones((_N, 1), np.float16)),
    }


class _MethodTrial:
    """Ranks the suite's pools by one method and compares."""

    def __init__(self, method: Method, seed: int, options: dict[str, Any]) -> None:
        self.method, self.seed, self.options = method, seed, options

    def rank(
        self,
        counts: NDArray[np.int64],
        x: Any,
        *,
        order: NDArray[np.int64] | None = None,
        seed: int | None = None,
        **more: Any,
    ) -> Ranking:
        """Rank a pool whose rows are given in `order`."""
        ids = np.array([f"scene/{i:03d}" for i in range(len(counts))])
        rows = np.arange(len(ids)) if order is None else order
        pool = Pool.from_arrays(ids=ids[rows], counts=counts[rows])
        vectors = x if order is None else x[rows]
        if isinstance(vectors, np.ndarray):
            vectors.flags.writeable = False
        chosen = self.seed if seed is None else seed
        return rank(pool, self.method, embeddings=vectors, seed=chosen, **{**self.options, **more})

    def fail(self, holds: object, rule: str, where: str, found: str = "") -> None:
        _need(holds, f"method {self.method.name!r}: {rule}", where, found)

    def same(self, a: Ranking, b: Ranking, rule: str, where: str) -> None:
        """Same ids in the same order."""
        self.fail(
            _ids(a).tolist() == _ids(b).tolist(), rule, where,
            f"{_ids(a)[:6].tolist()} against {_ids(b)[:6].tolist()}",
        )  # fmt: skip

    def check_pool(self, name: str, counts: NDArray[np.int64], x: NDArray[np.float16]) -> None:
        n = len(counts)
        ranking = self.rank(counts, x)
        self.fail(ranking.full, "without a depth every row must be ranked", name)
        self.fail(
            sorted(ranking.rows.tolist()) == list(range(n)), "the order is no permutation", name
        )
        self.fail(
            ranking.score.shape == (n,) and not np.isinf(ranking.score).any(),
            "there must be one score per row, finite or NaN", name,
        )  # fmt: skip
        self.same(ranking, self.rank(counts, x), "a second call gives another order", name)
        order = np.random.default_rng([self.seed, 2]).permutation(n)
        self.same(
            ranking, self.rank(counts, x, order=order),
            "the order depends on the order of the pool's rows", name,
        )  # fmt: skip
        for k in range(1, n + 1):
            self.fail(
                ranking.at(k).rows.tolist() == ranking.rows[:k].tolist(),
                "budgets are not nested", f"{name}, budget {k}",
            )  # fmt: skip
        try:
            json.dumps(dict(ranking.meta), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise CheckFailed(
                f"method {self.method.name!r}: meta is not ready for JSON", str(error)
            ) from error
        if self.method.greedy:
            for depth in {1, n // 2, n} - {0}:
                short = self.rank(counts, x, depth=depth)
                where = f"{name}, depth={depth}"
                self.fail(short.depth == depth, "the depth asked for is not kept", where)
                self.fail(
                    short.rows.tolist() == ranking.rows[:depth].tolist(),
                    "a smaller depth gives another order", where,
                )  # fmt: skip

    def check_seeds(self, counts: NDArray[np.int64], x: NDArray[np.float16]) -> None:
        """Where scores do not depend on the seed, the seed may move only equal scores."""
        a, b = self.rank(counts, x), self.rank(counts, x, seed=self.seed + 1)
        by_row = np.empty((2, len(counts)))
        by_row[0, a.rows], by_row[1, b.rows] = a.score, b.score
        if np.array_equal(by_row[0], by_row[1], equal_nan=True):
            self.fail(
                np.array_equal(a.score, b.score, equal_nan=True),
                "another seed moves rows of different scores", "mixed",
            )  # fmt: skip

    def check_constant(self) -> None:
        """Ties must be in a seeded order: row order is geographic order."""
        counts, x = _pools(self.seed)["copies of one row"]
        orders = {tuple(self.rank(counts, x, seed=self.seed + i).rows.tolist()) for i in range(4)}
        by_row = {tuple(range(_N)), tuple(range(_N))[::-1]}
        self.fail(
            not orders & by_row,
            "equal rows come out in the order of their ids",
            "copies of one row",
        )
        self.fail(
            len(orders) > 1, "the seed does not change the order of ties", "copies of one row"
        )

    def check_storage(self, counts: NDArray[np.int64], x: NDArray[np.float16]) -> None:
        if "embeddings" not in self.method.needs:
            return
        expected = self.rank(counts, x)
        shuffled = np.random.default_rng([self.seed, 3]).permutation(len(x))
        ids = np.array([f"scene/{i:03d}" for i in range(len(x))])
        variants: dict[str, Any] = {
            "float32": x.astype(np.float32),
            "float64": x.astype(np.float64),
            "Fortran order": np.asfortranarray(x),
            "every second column": np.repeat(x, 2, axis=1)[:, ::2],
            "Embeddings in another order": Embeddings(ids[shuffled], x[shuffled]),
        }
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "x.npy"
            np.save(file, x)
            mapped = np.load(file, mmap_mode="r")
            self.same(
                expected, self.rank(counts, mapped), "the storage changes the order", "memory map"
            )
            del mapped
        for name, value in variants.items():
            self.same(expected, self.rank(counts, value), "the storage changes the order", name)

    def check_unlabelled(self, counts: NDArray[np.int64]) -> None:
        empty = np.flatnonzero(~counts.any(axis=1))
        last = self.rank(counts, None).rows[-empty.size :]
        self.fail(
            sorted(last.tolist()) == empty.tolist(),
            "rows without a counted pixel must come last", "mixed",
            f"rows {empty.tolist()}, last are {last.tolist()}",
        )  # fmt: skip

    def check_nan(self, x: NDArray[np.float16]) -> None:
        counts = _pools(self.seed)["mixed"][0]
        for value in (np.nan, np.inf):
            bad = x.copy()
            bad[4, 1] = value
            try:
                self.rank(counts, bad)
            except FoveateError as error:
                self.fail("'scene/004'" in str(error), "the error must name the row", f"{value}")
            else:
                self.fail(False, "embeddings that are not finite must be refused", f"{value}")  # noqa: FBT003


def _ids(ranking: Ranking) -> NDArray[np.str_]:
    return np.asarray(ranking.ids)[ranking.rows]


# --- models --------------------------------------------------------------------------------


def check_model(
    model: Embeds | ModelHandle,
    *,
    tolerance: float = 0.0,
    shape: tuple[int, int] = (64, 64),
    dtype: str = "uint8",
) -> None:
    """Check a frozen model.

    Its spec must be complete, its vectors finite, small enough for float16, the same twice and
    the same alone or in a batch; dtype and memory layout of the batch must not matter, a batch
    with another number of bands must be refused, and inputs, global random state and torch's
    grad, train and thread settings must be left as they were.

    Args:
        model: A model, or a handle, which is bound to a small pool first.
        tolerance: Largest difference between a vector alone and in a batch, relative to the
            largest component; 0 asks for the same bytes, 1e-5 is right for torch.
        shape: ``(height, width)`` of the suite's tiles in pixels.
        dtype: Native dtype of the suite's imagery.

    Raises:
        CheckFailed: A rule is broken.
        FoveateError: The model refuses the suite's tiles.
    """
    bands = 3
    if isinstance(model, ModelHandle):
        bands = model.channels or len(model.bands) or 3
    elif model.spec.bands:
        bands = max(model.spec.bands)
    pool = _image_pool(bands, shape, dtype)
    with _untouched_random_state(str(model) if isinstance(model, ModelHandle) else model.spec.name):
        if isinstance(model, ModelHandle):
            _check_handle(model)
        bound = bind(model, pool)
        trial = _ModelTrial(bound, tolerance)
        trial.check_spec()
        wanted = bound.spec.bands or None
        batch = np.stack([raster.data for raster in pool.read(bands=wanted)])
        with _untouched_torch(bound):
            trial.check_vectors(batch)
            trial.check_batches(batch)
            trial.check_layout(batch)
            trial.check_bands(batch)
            trial.check_sizes(batch)
        found = embed(pool, model, batch_size=3).x
        trial.near(found, trial.x, "embed() and the model disagree", half=True)


def _image_pool(bands: int, shape: tuple[int, int], dtype: str) -> Pool:
    """Tiles that differ in texture, colour and brightness, one of them constant."""
    draw = np.random.default_rng(5)
    height, width = shape
    y, x = np.mgrid[:height, : _TILES * width] / 8.0
    waves = [np.sin(x * (0.3 + 0.2 * b)) * np.cos(y * (0.5 + 0.1 * b)) for b in range(bands)]
    image = np.stack(waves) * 60 + 120 + draw.normal(0, 12, (bands, height, _TILES * width))
    image[:, :, :width] = 90
    data = np.clip(np.rint(image), 0, 255).astype(dtype)
    source = ArraySource(data)
    tiles = Grid(source.info.shape, shape).tiles("suite")
    return Pool(ids=tiles.tile_id, scenes=(Scene("suite", source),), tiles=tiles)


def _check_handle(handle: ModelHandle) -> None:
    name = f"model {str(handle)!r}"
    _need(pickle.loads(pickle.dumps(handle)) == handle, f"{name}: the handle must be picklable")  # noqa: S301
    again = parse_name(str(handle))
    same = (again.family, again.name, again.tag, again.options) == (
        handle.family, handle.name, handle.tag, handle.options,
    )  # fmt: skip
    _need(same, f"{name}: the name must be readable again", "", f"{again!r}")


class _ModelTrial:
    """Embeds the suite's tiles with one model and compares."""

    def __init__(self, model: Embeds, tolerance: float) -> None:
        self.model, self.tolerance = model, tolerance
        self.name = f"model {model.spec.name!r}"
        self.x = np.empty(0)

    def embed(self, batch: NDArray[Any]) -> NDArray[Any]:
        given = batch.copy() if batch.flags.c_contiguous else batch
        given.flags.writeable = False
        return self.model.embed(given)

    def near(
        self, a: NDArray[Any], b: NDArray[Any], rule: str, where: str = "", *, half: bool = False
    ) -> None:
        """Equal bytes, or within the tolerance."""
        allowed = max(self.tolerance, 1e-3 if half else 0.0) * float(np.abs(b).max(initial=0))
        gap = float(np.abs(np.asarray(a, np.float64) - b).max(initial=0))
        _need(
            a.shape == b.shape and gap <= allowed, f"{self.name}: {rule}", where,
            f"differs by {gap:.3g}, allowed are {allowed:.3g}",
        )  # fmt: skip

    def check_spec(self) -> None:
        spec = self.model.spec
        for field in ("name", "fingerprint", "source", "dtype"):
            _need(getattr(spec, field), f"{self.name}: spec.{field} is empty")
        _need(spec.dim > 0, f"{self.name}: spec.dim is {spec.dim}")
        _need(spec.bands and min(spec.bands) > 0, f"{self.name}: spec.bands is {spec.bands}")
        for field in ("scale", "mean", "std"):
            value = getattr(spec, field)
            _need(
                not value or len(value) == len(spec.bands),
                f"{self.name}: spec.{field} has {len(value or ())} entries for "
                f"{len(spec.bands)} bands",
            )
        again = EncoderSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
        _need(again == spec, f"{self.name}: the spec changes on its way through JSON")

    def check_vectors(self, batch: NDArray[Any]) -> None:
        spec, x = self.model.spec, self.embed(batch)
        self.x = x
        expected = (len(batch), spec.dim)
        _need(
            isinstance(x, np.ndarray) and x.shape == expected,
            f"{self.name}: embed must return an array {expected}", "",
            f"got {type(x).__name__} of shape {np.shape(x)}",
        )  # fmt: skip
        _need(
            x.dtype.name == spec.dtype, f"{self.name}: dtype {x.dtype}, the spec says {spec.dtype}"
        )
        _need(np.isfinite(x).all(), f"{self.name}: the vectors hold NaN or infinity")
        _need(np.abs(x).max() <= _HALF, f"{self.name}: the vectors overflow float16")
        _need(
            not spec.non_negative or (x >= 0).all(),
            f"{self.name}: negative components, and spec.non_negative is set",
        )
        _need(
            (x[1:] != x[0]).any(axis=1).all(),
            f"{self.name}: textured tiles get the vector of a constant one",
        )
        _need((self.embed(batch) == x).all(), f"{self.name}: a second call gives other vectors")

    def check_batches(self, batch: NDArray[Any]) -> None:
        x = self.x
        rule = "a vector depends on the batch that it is in"
        alone = np.concatenate([self.embed(batch[i : i + 1]) for i in range(len(batch))])
        self.near(alone, x, rule, "one by one")
        self.near(self.embed(batch[::-1])[::-1], x, rule, "reversed")
        self.near(self.embed(np.concatenate([batch[:2], batch]))[2:], x, rule, "a larger batch")

    def check_layout(self, batch: NDArray[Any]) -> None:
        x = self.x
        rule = "the same pixels give other vectors"
        for dtype in ("uint8", "uint16", "int16", "float32"):
            if (batch.astype(dtype) == batch).all():
                self.near(self.embed(batch.astype(dtype)), x, rule, dtype)
        last = np.moveaxis(np.ascontiguousarray(np.moveaxis(batch, 1, -1)), -1, 1)
        self.near(self.embed(last), x, rule, "bands last in memory")

    def check_bands(self, batch: NDArray[Any]) -> None:
        for wrong in (batch[:, :1], np.concatenate([batch, batch], axis=1)):
            if wrong.shape[1] == batch.shape[1]:
                continue
            rule = f"{self.name}: a batch of {wrong.shape[1]} bands must be refused"
            try:
                self.embed(wrong)
            except FoveateError:
                continue
            except Exception as error:
                raise CheckFailed(
                    rule + " with a FoveateError", f"got {type(error).__name__}: {error}"
                ) from error
            raise CheckFailed(rule)

    def check_sizes(self, batch: NDArray[Any]) -> None:
        side = batch.shape[2] // 2
        x = self.embed(batch[:, :, :side, :])
        _need(
            x.shape == (len(batch), self.model.spec.dim) and np.isfinite(x).all(),
            f"{self.name}: tiles of another size must give the same kind of vector",
        )


# --- sources -------------------------------------------------------------------------------


def check_source(source: Source) -> None:
    """Check a source of imagery.

    What `info` says must be what `read` gives; a window must equal the same cut of the whole;
    bands come in the order asked for; what lies outside the raster is invalid; `out_shape` is
    kept; results are the reader's own; and the source survives pickling. The raster must be
    small: it is read as a whole.

    Args:
        source: At least 4 x 4 pixels.

    Raises:
        CheckFailed: A rule is broken.
    """
    trial = _SourceTrial(source)
    trial.check_info()
    trial.check_windows()
    trial.check_edges()
    trial.check_bands()
    trial.check_out_shape()
    trial.check_copies()
    again = pickle.loads(pickle.dumps(source))  # noqa: S301  (made a moment ago)
    _need(again.info == source.info, f"{trial.name}: info changes by pickling")
    trial.same(again.read(), trial.whole, "pixels change by pickling")


class _SourceTrial:
    """Reads one source in many ways and compares."""

    def __init__(self, source: Source) -> None:
        self.source, self.info, self.whole = source, source.info, source.read()
        self.name = f"source {type(source).__name__}"
        self.height, self.width = self.info.shape

    def same(self, a: Raster, b: Raster, rule: str, where: str = "") -> None:
        """Same valid pixels with the same values; what is invalid has no meaning."""
        where = f"{self.name}: {where}" if where else self.name
        _need(a.data.shape == b.data.shape, rule, where, f"{a.data.shape}, not {b.data.shape}")
        _need(a.data.dtype == b.data.dtype, rule, where, f"{a.data.dtype}, not {b.data.dtype}")
        _need(np.array_equal(a.valid, b.valid), rule, where, "the valid pixels differ")
        _need((a.data == b.data)[:, b.valid].all(), rule, where, "the values differ")

    def cut(self, window: Window) -> Raster:
        """The window as a cut of the whole raster."""
        part = np.s_[window.y : window.y + window.h, window.x : window.x + window.w]
        return type(self.whole)(self.whole.data[:, *part], self.whole.valid[part])

    def check_info(self) -> None:
        info, data, valid = self.info, self.whole.data, self.whole.valid
        _need(min(info.shape) >= 4, f"{self.name}: the suite needs at least 4 x 4 pixels")
        _need(
            data.shape == (info.bands, *info.shape), f"{self.name}: info.shape and info.bands", "",
            f"say {(info.bands, *info.shape)}, read gives {data.shape}",
        )  # fmt: skip
        _need(
            data.dtype.name == info.dtype,
            f"{self.name}: info.dtype is {info.dtype}, read gives {data.dtype}",
        )
        _need(
            valid.dtype == bool and valid.shape == info.shape,
            f"{self.name}: valid must be bool {info.shape}",
        )
        _need(
            info.masked or valid.all(), f"{self.name}: invalid pixels, and info.masked is not set"
        )
        _need(info.fingerprint, f"{self.name}: info.fingerprint is empty")
        _need(
            len(info.descriptions) in (0, info.bands),
            f"{self.name}: {len(info.descriptions)} descriptions for {info.bands} bands",
        )
        _need(
            info.geobox is None or tuple(info.geobox.shape) == tuple(info.shape),
            f"{self.name}: the geobox has another shape than the raster",
        )
        _need(self.source.info == info, f"{self.name}: info changes between two calls")

    def check_windows(self) -> None:
        h, w = self.height, self.width
        for window in (
            Window(0, 0, h, w), Window(0, 0, 1, 1), Window(h - 1, w - 1, 1, 1), Window(1, 0, 2, w),
            Window(0, w // 2, h, 2), Window(h // 3, w // 4, h - h // 3, w - w // 4),
        ):  # fmt: skip
            self.same(
                self.source.read(window), self.cut(window),
                "a window differs from the cut of the whole", f"{window}",
            )  # fmt: skip

    def check_edges(self) -> None:
        h, w = self.height, self.width
        for y, x in ((-2, -1), (h - 2, w - 3), (-1, w - 1), (h + 5, 0), (0, -9)):
            window = Window(y, x, 4, 5)
            found = self.source.read(window)
            where = f"{self.name}: {window}"
            _need(
                found.data.shape == (self.info.bands, 4, 5) and found.valid.shape == (4, 5),
                "a window beyond the edge keeps its size", where, f"got {found.data.shape}",
            )  # fmt: skip
            rows, cols = np.arange(y, y + 4), np.arange(x, x + 5)
            inside = ((rows >= 0) & (rows < h))[:, None] & ((cols >= 0) & (cols < w))[None]
            _need(not found.valid[~inside].any(), "outside the raster is invalid", where)
            if not inside.any():
                continue
            top, left = max(y, 0), max(x, 0)
            part = Window(top, left, min(h, y + 4) - top, min(w, x + 5) - left)
            cut = np.s_[top - y : top - y + part.h, left - x : left - x + part.w]
            seen = type(found)(found.data[:, *cut], found.valid[cut])
            self.same(seen, self.cut(part), "the inside of a window beyond the edge", f"{window}")

    def check_bands(self) -> None:
        count = self.info.bands
        orders: list[Sequence[int]] = [[count], list(range(count, 0, -1)), [1, 1]]
        for bands in orders:
            found = self.source.read(bands=bands)
            expected = self.whole.data[[b - 1 for b in bands]]
            ok = found.valid & self.whole.valid
            _need(
                found.data.shape == expected.shape and (found.data == expected)[:, ok].all(),
                f"{self.name}: bands must come in the order asked for", f"bands={bands}",
            )  # fmt: skip
        for wrong in ([0], [count + 1], []):
            try:
                self.source.read(bands=wrong)
            except FoveateError:
                continue
            raise CheckFailed(f"{self.name}: bands={wrong} of {count} must be refused")

    def check_out_shape(self) -> None:
        h, w = self.height, self.width
        window = Window(0, 0, h - h % 2, w - w % 2)
        plain = self.cut(window)
        values = plain.data[:, plain.valid]
        for shape in ((window.h // 2, window.w // 2), (h + 3, w + 5), (1, 1)):
            found = self.source.read(window, out_shape=shape)
            where = f"out_shape={shape}"
            _need(
                found.data.shape == (self.info.bands, *shape) and found.valid.shape == shape,
                f"{self.name}: out_shape is not kept", where, f"got {found.data.shape}",
            )  # fmt: skip
            _need(found.data.dtype.name == self.info.dtype, f"{self.name}: another dtype", where)
            seen = found.data[:, found.valid]
            if seen.size and not self.info.masked:
                _need(
                    seen.min() >= values.min() and seen.max() <= values.max(),
                    f"{self.name}: resampling leaves the range of the values", where,
                )  # fmt: skip
        same = self.source.read(window, out_shape=(window.h, window.w))
        self.same(same, plain, "out_shape of the window's own size changes pixels")

    def check_copies(self) -> None:
        before = self.source.read(Window(0, 0, 3, 3))
        kept = type(before)(before.data.copy(), before.valid.copy())
        if before.data.flags.writeable:
            before.data[...] = 0
        if before.valid.flags.writeable:
            before.valid[...] = False
        self.same(self.source.read(Window(0, 0, 3, 3)), kept, "writing into a result changes it")


# --- what must be left alone -----------------------------------------------------------------


@contextlib.contextmanager
def _untouched_random_state(name: str) -> Generator[None]:
    """Fail when a block draws from or seeds a global random generator."""
    before = _random_state()
    yield
    for library, state in _random_state().items():
        _need(
            library not in before or before[library] == state,
            f"{name!r} uses the global random state of {library}", "",
            "Draw from foveate.seeds.rng(seed, name) instead",
        )  # fmt: skip


def _random_state() -> dict[str, Any]:
    state = np.random.get_state(legacy=True)  # noqa: NPY002  (looked at, not drawn from)
    found: dict[str, Any] = {
        "numpy": (state[1].tobytes(), state[2:]),
        "random": random.getstate(),
    }
    if torch := sys.modules.get("torch"):
        found["torch"] = torch.random.get_rng_state().numpy().tobytes()
    return found


@contextlib.contextmanager
def _untouched_torch(model: object) -> Generator[None]:
    """Fail when a block changes torch's modes, or the train mode of the model's networks."""
    before = _torch_state(model)
    yield
    for what, state in _torch_state(model).items():
        _need(
            what not in before or before[what] == state, f"embed changes {what}", "",
            f"from {before.get(what)} to {state}",
        )  # fmt: skip


def _torch_state(model: object) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    held = [v for v in vars(model).values() if isinstance(v, torch.nn.Module)]
    return {
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "the train mode of its network": [m.training for net in held for m in net.modules()],
    }
