"""Test suite for frozen models: name, spec and capabilities."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np

from foveate.grid import Grid
from foveate.models import Embeds, ModelHandle, bind, capabilities, embed, parse_name
from foveate.pool import Pool, Scene
from foveate.raster import ArraySource
from foveate.testing.answers import check_answer_loss, check_answers
from foveate.testing.masks import check_masks
from foveate.testing.networks import untouched_torch
from foveate.testing.parts import check_parts
from foveate.testing.rules import need, untouched_random_state
from foveate.testing.sizes import check_sizes
from foveate.testing.texts import check_texts
from foveate.testing.tokens import check_tokens
from foveate.testing.trial import HALF, Trial
from foveate.testing.vectors import check_vectors

if TYPE_CHECKING:
    from foveate.models.capabilities import Model

_TILES = 4
_CHECKS = {
    "embed": check_vectors,
    "tokens": check_tokens,
    "parts": check_parts,
    "text": check_texts,
    "answers": check_answers,
    "answer_loss": check_answer_loss,
    "masks": check_masks,
    "sizes": check_sizes,
}


def check_model(
    model: Model | ModelHandle,
    *,
    tolerance: float = 0.0,
    shape: tuple[int, int] = (64, 64),
    dtype: str = "uint8",
) -> None:
    """Check a frozen model.

    Its spec must be complete, its vectors finite, small enough for float16, the same twice and
    the same alone or in a batch; dtype and memory layout of the batch must not matter, and a
    batch with another number of bands must be rejected. Other capabilities of the model
    (`foveate.models.capabilities`) are checked by their own rules: `check_tokens`,
    `check_parts`, `check_texts`, `check_answers`, `check_answer_loss`, `check_masks`,
    `check_sizes`. Inputs, global random state, torch's settings and the model's networks must be
    unchanged.

    Args:
        model: A model, or a handle, which is bound to a small pool first.
        tolerance: Largest difference between a result alone and in a batch, relative to the
            largest value; 0 requires the same bytes, 1e-5 suits torch.
        shape: ``(height, width)`` of the suite's tiles in pixels.
        dtype: Native dtype of the suite's imagery.

    Raises:
        CheckFailed: A rule is violated.
        FoveateError: The model rejects the tiles of the suite.
    """
    bands = 3
    if isinstance(model, ModelHandle):
        bands = max(model.bands or (model.channels or 3,))
    elif model.spec.bands:
        bands = max(model.spec.bands)
    pool = _image_pool(bands, shape, dtype)
    with untouched_random_state(str(model) if isinstance(model, ModelHandle) else model.spec.name):
        if isinstance(model, ModelHandle):
            _check_handle(model)
        bound = bind(model, pool)
        trial = Trial(bound, tolerance)
        trial.check_spec()
        batch = np.stack([raster.data for raster in pool.read(bands=bound.spec.bands)])
        with untouched_torch(bound):
            for name in capabilities(bound):
                _CHECKS[name](trial, batch)
        if isinstance(bound, Embeds):  # a model behind an API may only answer questions
            given = model if isinstance(model, ModelHandle) else bound
            found = embed(pool, given, batch_size=3).x
            trial.near(found, bound.embed(batch), "embed() and the model disagree", least=HALF)


def _image_pool(bands: int, shape: tuple[int, int], dtype: str) -> Pool:
    """Return tiles that differ in texture, colour and brightness, one of them constant."""
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
    need(same, f"{name}: the name must survive a round trip", "", f"{again!r}")
