"""A pool with a column and places, and rankings of it under rules."""

import numpy as np
import shapely
from dense import dense

from foveate.curate import rank
from foveate.pool import Pool
from foveate.pool.rules import Rules

OPTIONS = {"fd": {"clusters": 3}, "lc-fd": {"fd": {"clusters": 3}, "m": 4},
           "column": {"name": "v"}, "similar": {"toward": "t00", "examples": "first"}}  # fmt: skip


def pool_of(n=24, seed=0, side=0.01):
    rng = np.random.default_rng(seed)
    lon, lat = rng.uniform(0, 0.1, (2, n))
    return Pool.from_arrays(
        ids=[f"t{i:02d}" for i in range(n)], counts=rng.integers(0, 9, (n, 3)) + 1,
        outlines=shapely.box(lon, lat, lon + side, lat + side),
        attributes={"city": rng.choice(["a", "b", "c", "d", "e"], n), "v": rng.random(n)},
    )  # fmt: skip


def features(pool):
    return np.random.default_rng(1).random((len(pool), 4))


def ranked(pool, name="random", **rules):
    start, overlap = rules.pop("start", None), rules.pop("max_overlap", 1.0)
    return rank(
        pool, name, embeddings=features(pool), rules=Rules(**rules), picked=start,
        max_overlap=overlap, **dense(len(pool)), **OPTIONS.get(name, {}),
    )  # fmt: skip
