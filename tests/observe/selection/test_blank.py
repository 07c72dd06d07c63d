"""Tiles of one value in each band of the overview are bought last."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from observing import observing  # noqa: F401

from foveate.observe.data.pairs import cut_into
from foveate.observe.jobs import SelectJob
from foveate.observe.selection.blank import blank_tiles
from foveate.observe.selection.overviews import overview_tiles
from foveate.pool.pool import Pool, Scene
from foveate.raster import ArraySource


@given(
    shape=st.tuples(st.integers(4, 40), st.integers(4, 300)),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 99),
    nodata=st.booleans(),
)
def test_blank_tiles_are_those_of_each_window(shape, grid, seed, nodata):
    random = np.random.default_rng(seed)
    data = random.integers(1, 4, (2, *shape)).astype(np.uint8)
    first = cut_into(Pool(np.array([], np.str_), (Scene("a", ArraySource(data)),)), [grid])
    tiles = first.tiles
    for i in np.flatnonzero(random.random(len(first)) < 0.5).tolist():
        y, x, h, w = (int(v[i]) for v in (tiles.y, tiles.x, tiles.h, tiles.w))
        data[:, y : y + h, x : x + w] = random.integers(1, 4, (2, 1, 1))
    source = ArraySource(data, random.random(shape) > 0.2 if nodata else None)
    pool = cut_into(Pool(np.array([], np.str_), (Scene("a", source),)), [grid])
    target = overview_tiles(pool)
    expected = []
    for raster in pool.read(range(len(pool))):
        values = raster.data[:, raster.valid]
        expected.append(bool((values == values[:, :1]).all()))  # True without valid pixels
    assert blank_tiles(target).tolist() == expected


@pytest.mark.parametrize("policy", ["learned", "uniform", "lr-entropy"])
def test_blank_tiles_are_ranked_last(observing, tmp_path, policy):  # noqa: F811
    (first, *_) = sorted(observing.overviews.glob("*.tif"))
    with rasterio.open(first) as file:
        profile, data = file.profile, file.read()
    data[:, :, : data.shape[2] // 2] = 200  # a filled half that no nodata value declares
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        file.write(data)
    given = {"images": [str(tmp_path / "a.tif")], "observer": str(observing.model)}
    for budget in ("50%", "75%"):
        job = SelectJob(**given, budget=budget, policy=policy, device="cpu")
        about = job.run(tmp_path / "run").record["summary"]["observe"]
        table = pq.read_table(tmp_path / "run/tables/scores.parquet").to_pydict()
        blank = np.array(table["col"]) < max(table["col"]) // 2  # whole tiles of the filled half
        bought, chosen = int(blank[table["chosen"]].sum()), sum(table["chosen"])
        assert bought == max(0, chosen - (~blank).sum())
        assert (bought > 0) == (budget == "75%")
        assert not np.array(table["score"])[blank].any()
        (note,) = [n for n in about["notes"] if "one value in each band" in n]
        start = f"{blank.sum()} tiles have one value in each band of the overview (blank, saturated"
        assert note.startswith(start)
        assert (f"{bought} of {chosen} selected tiles are such tiles" in note) == (bought > 1)
