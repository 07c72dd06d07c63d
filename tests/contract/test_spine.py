"""Two small programs written with public types only.

They are the shapes that the other verbs will have: looking coarse to fine under a budget of model
passes, and choosing tiles scene by scene from overviews. If a type changes so that one of them
must be rewritten, the change breaks a promise.
"""

from __future__ import annotations

import numpy as np
import pytest

import foveate as fv
from foveate.raster import ArraySource
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score

SIDE = 64  # input side of the fake model: one pass is 64 x 64 pixels


def brightness_model():
    """A frozen model: one feature, the mean of the image."""
    return fv.from_callable(
        lambda batch: batch.mean(axis=(1, 2, 3))[:, None],
        name="brightness", dim=1, bands=(1,), fingerprint="1",
    )  # fmt: skip


def look_coarse_to_fine(source, model, budget):
    """Refine the brightest tile as long as the passes last; return the tiles and a selection."""
    ledger = fv.Ledger.open(budget)
    tiles = fv.Grid.split(source.info.shape, 2, 2).tiles("scene")
    score = np.full(len(tiles), np.nan)
    refined = np.zeros(len(tiles), bool)
    while True:
        todo = np.flatnonzero(np.isnan(score))
        price = float(tiles.pixels[todo].sum()) / SIDE**2
        if not ledger.can(passes=price):
            break
        ledger.spend(passes=price)
        batch = [source.read(tiles.window(i)).data for i in todo]
        score[todo] = [float(model.embed(image[None])[0, 0]) for image in batch]
        best = int(np.where(refined | np.isnan(score), -np.inf, score).argmax())
        if refined[best] or min(tiles.window(best)[2:]) < 8:
            break
        refined[best] = True
        tiles = fv.Tiles.concat([tiles, tiles.refine([best])])
        score = np.append(score, np.full(4, np.nan))
        refined = np.append(refined, np.zeros(4, bool))
    seen = np.flatnonzero(~np.isnan(score))
    order = seen[order_by_score(score[seen], tie_keys(tiles.tile_id[seen], 0))]
    ranking = fv.Ranking(order, score[order], len(tiles), ids=tiles.tile_id)
    return tiles, ranking.at(1), ledger


def test_a_coarse_to_fine_look_finds_the_bright_spot_within_its_passes():
    image = np.zeros((1, 256, 256), np.float32)
    image[0, 200:208, 40:48] = 1.0
    tiles, look, ledger = look_coarse_to_fine(
        ArraySource(image), brightness_model(), fv.Budget.parse({"passes": 24})
    )
    found = tiles.window(look.rows[0])
    assert found.y <= 200 < found.y + found.h
    assert found.x <= 40 < found.x + found.w
    assert found.h <= 16
    assert ledger.spent["passes"] <= 24
    # 16 passes for the first level, and a quarter of that for each finer one.
    assert ledger.spent["passes"] == pytest.approx(sum(16 / 4**level for level in range(6)))
    parent = tiles.parent[look.rows[0]]
    assert tiles.level[parent] == tiles.level[look.rows[0]] - 1


def test_a_look_stops_before_the_pass_that_it_cannot_pay():
    image = np.random.default_rng(0).random((1, 256, 256)).astype(np.float32)
    _, _, ledger = look_coarse_to_fine(
        ArraySource(image), brightness_model(), fv.Budget.parse("passes=20.5")
    )
    assert ledger.spent["passes"] == 20
    assert ledger.left("passes") == pytest.approx(0.5)


@pytest.fixture
def overviews(tmp_path):
    """Three low-resolution scenes of different content."""
    from foveate.raster import write_cog

    rng = np.random.default_rng(1)
    for i in range(3):
        pixels = rng.integers(1, 255, (3, 80, 100), dtype=np.uint8)
        pixels[:, :20, :25] = 255 - i
        write_cog(tmp_path / "lr" / f"scene-{i}.tif", pixels)
    return tmp_path / "lr"


def observe(pool, policy, budget):
    """Rank and cut each scene on its own: a budget per scene, not per pool."""
    chosen = {}
    for scene, rows in pool.per_scene():
        part = pool.take(rows)
        score = policy(part)
        order = order_by_score(score, tie_keys(part.ids, 0))
        ranking = fv.Ranking(order, score[order], len(part), part.ids, part.costs())
        chosen[scene.scene_id] = ranking.at(budget)
    return chosen


def test_tiles_are_chosen_scene_by_scene_from_overviews(overviews):
    pool = fv.open_pool(overviews, split=(4, 4))
    model = brightness_model()

    def policy(part):
        tiles = part.read(bands=(1,))
        return np.array([float(model.embed(t.data[None].astype(np.float32))[0, 0]) for t in tiles])

    chosen = observe(pool, policy, "13%")
    assert sorted(chosen) == ["scene-0", "scene-1", "scene-2"]
    for scene, selection in chosen.items():
        assert len(selection) == 2  # 13 % of 16 tiles, rounded down
        assert selection.values[0] == f"{scene}/y000000_x000000_20x25"
        assert selection.unspent == {"tiles": 0.0}


def test_a_larger_budget_keeps_what_a_smaller_one_had(overviews):
    pool = fv.open_pool(overviews, split=(4, 4))
    small, large = (
        observe(pool, lambda part: part.tiles.x.astype(float), b) for b in ("25%", "50%")
    )
    for scene, selection in small.items():
        assert set(selection.values) <= set(large[scene].values)
