"""Dense features for probes."""

from __future__ import annotations

import numpy as np

from foveate.grid import Grid
from foveate.models import dense_features, load_model
from foveate.pool import Pool, Scene
from foveate.raster import ArraySource
from foveate.run import Run


def pool():
    draw = np.random.default_rng(0)
    scene = Scene("s", ArraySource(draw.integers(0, 255, (3, 32, 32)).astype(np.uint8)))
    tiles = Grid((32, 32), 16).tiles("s")
    return Pool(ids=tiles.tile_id, scenes=(scene,), tiles=tiles)


def test_features_of_cells_are_stored_in_a_run_and_read_from_it(tmp_path, caplog):
    model = load_model("builtin")
    memory = dense_features(pool(), model)
    stored = dense_features(pool(), model, run=tmp_path / "run")
    assert memory.x.shape == (4, 4, memory.spec.dim)
    assert memory.spec.grid == (2, 2)
    np.testing.assert_array_equal(stored.x, memory.x)
    with Run.create(tmp_path / "run") as run:
        np.testing.assert_array_equal(dense_features(pool(), model, run=run).x, memory.x)
        assert not run.worked
    assert "has no dense features" in caplog.text
