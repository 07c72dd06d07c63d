"""Worlds of features without imagery: what is in them is known, because it was put there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from foveate.grid import Tiles
from foveate.observe.data.pairs import Pairs
from foveate.observe.jobs import TrainJob
from foveate.observe.networks.sizes import Shape, architecture_of
from foveate.observe.networks.tasks import Data
from foveate.observe.observer import Observer
from foveate.observe.observer_config import ObserverConfig
from foveate.observe.projection import Projection
from foveate.observe.scoring.calibration import Calibration
from foveate.observe.training.dataset import TrainingData
from foveate.observe.training.stages import Stages
from foveate.pool.pool import Pool, Scene
from foveate.raster.sources import ArraySource

if TYPE_CHECKING:
    from foveate.observe.data.concepts import Concept

SIDE = 4  # pixels of a tile of the pools


def pairs_of(here, concepts=(), *, groups=None, geoboxes=(None, None)):
    """Return pairs of black imagery, for the tiles where `here` (s, R, C) is True."""
    s, rows, cols = here.shape
    names = tuple(f"s{i:02d}" for i in range(s))
    scene, row, col = (a.astype(np.int64) for a in np.nonzero(here))
    n = len(scene)
    side, one = np.full(n, SIDE), np.ones(n)
    tiles = Tiles(names, scene, 0 * one, row, col, row * SIDE, col * SIDE, side, side, -one, one)
    black = np.zeros((1, rows * SIDE, cols * SIDE), np.uint8)
    high, low = (
        tuple(Scene(name, ArraySource(black, geobox=box)) for name in names) for box in geoboxes
    )
    ids = [f"s{i:02d}/{r:02d}-{c:02d}" for i, r, c in zip(scene, row, col, strict=True)]
    pool = Pool(np.array(ids), high, tiles)
    return Pairs(pool, low, (rows, cols), groups or names, concepts)


def material_of(
    lr, hr, *, here=None, known=None, concepts: tuple[Concept, ...] = (), split=None, groups=None,
    labels=None, texts=None, saliency=None, shape=None, geoboxes=(None, None),
):  # fmt: skip
    """Return material of (s, R, C, d) features, one token a tile unless `shape` says otherwise.

    `known` is (s, R, C, K) bool. All scenes are for training unless `split` says otherwise.
    """
    shape = shape or Shape(lr.shape[-1], hr.shape[-1], 1, 1, 1, 16, 1, 2, 16, 2, 0.0)
    s, height, width = hr.shape[:3]
    if here is None:
        here = np.ones((s, height // shape.hr_side, width // shape.hr_side), bool)
    pairs = pairs_of(here, concepts, groups=groups, geoboxes=geoboxes)
    tokens = torch.from_numpy(np.asarray(hr, np.float32))
    data = Data(torch.from_numpy(np.asarray(lr, np.float32)), tokens, tokens, here)
    return TrainingData(
        pairs, np.array(["train"] * s if split is None else split), data,
        np.ones(len(pairs)) if saliency is None else saliency, concepts,
        None if known is None else known[here], identity(lr.shape[-1]), identity(hr.shape[-1]),
        labels, texts, shape, {}, {},
    )  # fmt: skip


def identity(d):
    """Return a reduction that changes nothing."""
    return Projection(np.zeros(d, np.float32), np.eye(d, dtype=np.float32), 1.0)


def stages_of(material, **job):
    """Return the stages of a training on the CPU."""
    given = {"pairs": "PAIRS", "size": "nano", "device": "cpu", "patience": 0, "train_batch": 16}
    return Stages(material, TrainJob(**{**given, **job}), torch.device("cpu"))


def observer_of(material, sampler, predictor, *, form="kriged", scores=(0.0, 1.0)):
    """Return an observer of networks over the features of a material."""
    record = ObserverConfig(
        {}, material.shape, architecture_of(form), predictor.fill.blocks is not None,
        material.pairs.shape, float(SIDE), None, material.concepts, "surprise", 0.12,
        Calibration.fit(np.asarray(scores)), "rs", {},
    )  # fmt: skip
    head = material.labels
    return Observer(record, sampler.eval(), predictor.eval(), material.lr, material.hr, head=head)


def smooth(field, times=2):
    """Average (s, R, C, d) fields over neighbours, and bring them back to a spread of 1."""
    for _ in range(times):
        wide = np.pad(field, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")
        field = sum(
            wide[:, i : i + field.shape[1], j : j + field.shape[2]]
            for i in range(3)
            for j in range(3)
        )
    return field / field.std()


def plant(*, visibility=1.0, correlation=0.0, height=3.0, scenes=60, side=6, seed=0):
    """Return material in which it is known what LR tells.

    A third of the tiles are busy: there HR has a first feature of a `height`, of a sign that LR
    does not tell. LR has who is busy in its own first feature, with the given correlation. The
    other features of HR are a linear map of LR, and something more whose correlation among
    neighbours is given.
    """
    draw = np.random.default_rng(seed)
    size = (scenes, side, side)
    busy = (draw.random(size) < 1 / 3).astype(float)
    lr = draw.normal(size=(*size, 4))
    hidden = np.sqrt(1 - visibility**2)
    lr[..., 0] = visibility * (busy - 1 / 3) / np.sqrt(2 / 9) + hidden * lr[..., 0]
    hr = draw.normal(size=(*size, 6))
    share = np.sqrt(correlation)
    hr = share * smooth(hr) + np.sqrt(1 - share**2) * hr
    hr[..., 0] = height * busy * np.where(draw.random(size) < 0.5, 1, -1) + 0.1 * hr[..., 0]
    hr[..., 1:] = 0.5 * hr[..., 1:] + lr @ draw.normal(size=(4, 5)) / 2
    split = np.repeat(["train", "val", "test"], [scenes // 2, scenes // 6, scenes // 3])
    return material_of(lr, hr, split=split)
