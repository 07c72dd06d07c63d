"""Class folders of tiny coloured patches, and a method without a plan, for `bench focus`."""

from __future__ import annotations

import numpy as np
from PIL import Image

from foveate.bench.focus.methods.base import Outcome
from foveate.errors import BudgetError
from foveate.grid import Grid
from foveate.seeds import rng

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}
SIDE = 16


def write_classes(root, per_class=3, side=SIDE):
    """Write class folders of PNGs of one colour each, with noise."""
    draw = np.random.default_rng(1)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for k in range(per_class):
            pixels = np.clip(np.array(colour) + draw.normal(0, 6, (side, side, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{name}{k}.png")
    return root


def random_tiles(task):
    """Show as many tiles of the size of a crop as the passes hold, drawn at random; they vote."""
    tiles = Grid.split(task.shape, *(n // task.crop for n in task.shape)).tiles()
    price = task.encoder.price([tiles.window(0)])[0]
    count = int(min(len(tiles) * price, task.passes) / price)
    rows = rng(task.seed, "test/tiles").choice(len(tiles), count, replace=False)
    windows = [tiles.window(i) for i in rows]
    x = task.encoder.embed(windows)
    head = task.question.head
    if head is None:
        return Outcome(tuple(windows[: task.regions]), None)
    votes = np.bincount(head.logits(x).argmax(axis=1), minlength=len(head.names)) / count
    return Outcome(tuple(windows[: task.regions]), votes)


def too_dear(task):
    """Ask for more than any budget holds."""
    raise BudgetError(f"{task.passes:g} passes for a method that takes more", "It takes more.")
