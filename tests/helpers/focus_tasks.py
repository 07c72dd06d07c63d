"""Tasks for the methods of `bench focus`: scenes of colours, and a model that sees their mean."""

from __future__ import annotations

import math

import numpy as np
from looks import RED, colour_head, colour_model, land

from foveate.bench.focus.methods.base import Task
from foveate.budget import Ledger
from foveate.focus.encode import CropEncoder
from foveate.focus.question import FocusQuestion
from foveate.grid import Window
from foveate.models.heads import unit
from foveate.raster.sources import ArraySource

SIDE = 16  # of a crop and of the input of the model

TEXT = FocusQuestion(query="red", text=unit(np.array([1, 0, 0], np.float32)))


def classes(query=""):
    """Return the classes red, green and blue, of which one may be looked for."""
    head = colour_head()
    return FocusQuestion(head, query, head.names.index(query) if query else None)


def task_of(
    image, question=None, *, passes=math.inf, regions=4, seed=0, valid=None, size=SIDE, crop=SIDE,
    tokens=8, **model,
):  # fmt: skip
    """Return a task whose crops cost one pass each, and what the model is shown.

    Args:
        image: (3, h, w).
        question: Classes and query; none of them when None.
        passes: Of the budget.
        regions: Most regions.
        seed: Of everything random.
        valid: (h, w) bool, or None.
        size: Side of the model's input, or None for any.
        crop: Side of a crop.
        tokens: Along a side.
        model: More of `colour_model`.
    """
    built, shown = colour_model(size=size and (size, size), tokens=tokens, **model)
    question = question or FocusQuestion()
    ledger = Ledger({} if math.isinf(passes) else {"passes": passes})
    encoder = CropEncoder(
        ArraySource(image, valid), built, ledger, seed=seed, inputs=question.inputs
    )
    return Task(encoder, question, crop, passes, regions, seed), shown


def planted(rows=4, cols=6, at=(2, 3), *, colour=RED, seed=0, spread=6):
    """Return green land of tiles of `SIDE` pixels, one of them of another colour."""
    window = Window(at[0] * SIDE, at[1] * SIDE, SIDE, SIDE)
    image = land(rows * SIDE, cols * SIDE, seed=seed, spread=spread, cell=SIDE)
    y, x, h, w = window
    image[:, y : y + h, x : x + w] = np.array(colour)[:, None, None]
    return image, window


def overlaps(first, second):
    """Say whether two windows share a pixel."""
    return (
        first.y < second.y + second.h and second.y < first.y + first.h
        and first.x < second.x + second.w and second.x < first.x + first.w
    )  # fmt: skip
