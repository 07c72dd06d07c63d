"""The suite that a frozen model must pass."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.errors import FoveateError
from foveate.grid import Grid
from foveate.models import ModelHandle, bind, embed, parse_name
from foveate.pool import Pool, Scene
from foveate.raster import ArraySource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.models import Embeds
from foveate.testing.rules import CheckFailed, need, untouched_random_state, untouched_torch

_TILES = 4
_HALF = float(np.finfo(np.float16).max)


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
    with untouched_random_state(str(model) if isinstance(model, ModelHandle) else model.spec.name):
        if isinstance(model, ModelHandle):
            _check_handle(model)
        bound = bind(model, pool)
        trial = _ModelTrial(bound, tolerance)
        trial.check_spec()
        wanted = bound.spec.bands or None
        batch = np.stack([raster.data for raster in pool.read(bands=wanted)])
        with untouched_torch(bound):
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
    need(pickle.loads(pickle.dumps(handle)) == handle, f"{name}: the handle must be picklable")  # noqa: S301
    again = parse_name(str(handle))
    same = (again.family, again.name, again.tag, again.options) == (
        handle.family, handle.name, handle.tag, handle.options,
    )  # fmt: skip
    need(same, f"{name}: the name must be readable again", "", f"{again!r}")


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
        need(
            a.shape == b.shape and gap <= allowed, f"{self.name}: {rule}", where,
            f"differs by {gap:.3g}, allowed are {allowed:.3g}",
        )  # fmt: skip

    def check_spec(self) -> None:
        spec = self.model.spec
        for field in ("name", "fingerprint", "source", "dtype"):
            need(getattr(spec, field), f"{self.name}: spec.{field} is empty")
        need(spec.dim > 0, f"{self.name}: spec.dim is {spec.dim}")
        need(spec.bands and min(spec.bands) > 0, f"{self.name}: spec.bands is {spec.bands}")
        for field in ("scale", "mean", "std"):
            value = getattr(spec, field)
            need(
                not value or len(value) == len(spec.bands),
                f"{self.name}: spec.{field} has {len(value or ())} entries for "
                f"{len(spec.bands)} bands",
            )
        again = EncoderSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
        need(again == spec, f"{self.name}: the spec changes on its way through JSON")

    def check_vectors(self, batch: NDArray[Any]) -> None:
        spec, x = self.model.spec, self.embed(batch)
        self.x = x
        expected = (len(batch), spec.dim)
        need(
            isinstance(x, np.ndarray) and x.shape == expected,
            f"{self.name}: embed must return an array {expected}", "",
            f"got {type(x).__name__} of shape {np.shape(x)}",
        )  # fmt: skip
        need(
            x.dtype.name == spec.dtype, f"{self.name}: dtype {x.dtype}, the spec says {spec.dtype}"
        )
        need(np.isfinite(x).all(), f"{self.name}: the vectors hold NaN or infinity")
        need(np.abs(x).max() <= _HALF, f"{self.name}: the vectors overflow float16")
        need(
            not spec.non_negative or (x >= 0).all(),
            f"{self.name}: negative components, and spec.non_negative is set",
        )
        need(
            (x[1:] != x[0]).any(axis=1).all(),
            f"{self.name}: textured tiles get the vector of a constant one",
        )
        need((self.embed(batch) == x).all(), f"{self.name}: a second call gives other vectors")

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
        need(
            x.shape == (len(batch), self.model.spec.dim) and np.isfinite(x).all(),
            f"{self.name}: tiles of another size must give the same kind of vector",
        )
