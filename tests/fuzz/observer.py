"""A tiny observer to select with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.cli.main import main
from foveate.world import WorldSpec, write_world

if TYPE_CHECKING:
    from pathlib import Path


def small_observer(root: Path) -> Path:
    """Draw a world, make pairs of it, train an observer; return its run directory."""
    world, pairs, model = root / "world", root / "pairs", root / "observer"
    write_world(world, WorldSpec(scenes=8, size=128, bands=3, seed=5, cloud=0.0, nodata_border=0.0))
    labels = f"--masks {world}/masks --classes {world}/classes.yaml --concepts forest,road"
    steps = (
        f"observe prepare {world}/images {labels} --tiles 2x2 --ratio 2 --out {pairs}",
        f"observe train {pairs} --size nano --epochs 1 --out {model}",
    )
    for step in steps:
        if main(step.split()):
            raise RuntimeError(step)
    return model
