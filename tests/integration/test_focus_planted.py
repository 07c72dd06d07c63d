"""Planted objects of the procedural world: rare and query find more of them than chance does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from foveate.demo import TILE, learn_objects
from foveate.focus import look
from foveate.grid import Grid
from foveate.models import load_model
from foveate.world import WorldSpec, make_scene

TOWN, SEEDS, REGIONS = 3, (50, 51, 52), 8
BUDGET = {"regions": REGIONS, "passes": 8}  # tiling one scene takes 16 passes, the overview 1


@pytest.fixture(scope="module")
def towns():
    return [
        make_scene(WorldSpec(scenes=4, size=1024, seed=s, cloud=0.0, nodata_border=0.0), TOWN)
        for s in SEEDS
    ]


def holds(window, objects):
    """Say whether a window holds half of the box of any object."""
    for box in objects:
        down = min(window.y + window.h, box.y + box.h) - max(window.y, box.y)
        across = min(window.x + window.w, box.x + box.w) - max(window.x, box.x)
        if max(down, 0) * max(across, 0) >= box.h * box.w / 2:
            return True
    return False


def beyond_chance(towns, wanted, **question):
    """Count regions of crop size that hold an object; return them with the bound of chance."""
    tiles = Grid((1024, 1024), TILE).tiles()
    grid = [tiles.window(i) for i in range(len(tiles))]
    hits, chance = 0, []
    for town in towns:
        objects = [item for item in town.objects if item.kind in wanted]
        found = look(town.image, load_model("builtin"), budget=BUDGET, crop=TILE, **question)
        assert found.passes <= BUDGET["passes"]
        hits += sum(holds(w, objects) for w in found.windows if max(w.h, w.w) <= TILE)
        chance.append(np.mean([holds(w, objects) for w in grid]))
    return hits, binom.ppf(0.975, REGIONS * len(towns), np.mean(chance))


@pytest.mark.slow
def test_query_finds_more_than_chance(towns):
    probe = learn_objects(seed=7)
    hits, bound = beyond_chance(
        towns, {"storage_tank"}, goal="query", query="storage tank", head=probe
    )
    assert hits > bound


def test_rare_finds_more_than_chance(towns):
    kinds = {item.kind for town in towns for item in town.objects}
    hits, bound = beyond_chance(towns, kinds, goal="rare")
    assert hits > bound
