"""Each pixel tested once."""

import numpy as np
from labelled import write_labelled

from foveate.bench.curate.labels import FILES, write_cell_counts
from foveate.pool import open_pool


def test_overlapping_tiles_test_each_pixel_once(tmp_path):
    write_labelled(tmp_path, n=2, side=40, classes=3, seed=0)
    pool = open_pool(tmp_path / "images", masks=tmp_path / "masks", tile=32)  # shifted: overlaps
    write_cell_counts(pool, (4, 4), tmp_path / "out")
    counts, once = (np.load(tmp_path / "out" / name) for name in FILES)
    np.testing.assert_array_equal(counts.sum(axis=1), pool.counts)
    whole = open_pool(tmp_path / "images", masks=tmp_path / "masks", tile=40)
    np.testing.assert_array_equal(once.sum(axis=(0, 1)), whole.counts.sum(axis=0))
