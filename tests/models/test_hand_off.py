"""Selections in trainings with the real classes of PyTorch and torchgeo."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from foveate.curate import CurateJob
from foveate.errors import DataError, MissingExtraError, ParameterError, UnknownNameError
from foveate.models import balanced_sampler, balanced_weights, geo_sampler, torch_subset
from foveate.pool import open_pool
from foveate.raster import write_cog
from foveate.selection import Ranking

data = pytest.importorskip("torch.utils.data")
TILE = 16
BOX = GeoBox((64, 64), Affine(2, 0, 500_000, 0, -2, 4_000_000), "EPSG:32633")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A scene of 4 x 4 tiles with masks, and a run that has chosen half of them."""
    root = tmp_path_factory.mktemp("hand_off")
    draw = np.random.default_rng(0)
    picture = draw.integers(1, 255, (3, 64, 64)).astype(np.uint8)
    write_cog(root / "images/s.tif", picture, geobox=BOX)
    labels = (draw.random((1, 64, 64)) < np.linspace(0, 0.4, 64)).astype(np.uint8)
    write_cog(root / "masks/s.tif", labels, geobox=BOX)
    CurateJob(images=[str(root / "images")], masks=[str(root / "masks")], tile=TILE, budget="50%",
              methods=["cb"]).run(root / "run")  # fmt: skip
    return root


@pytest.fixture(scope="module")
def chosen(root):
    return pq.read_table(root / "run/selection/cb.parquet").sort_by("rank")


@pytest.fixture(scope="module")
def pool(root):
    return open_pool(str(root / "images"), masks=str(root / "masks"), tile=TILE)


@pytest.fixture(scope="module")
def selection(root, pool, chosen):
    rows = np.searchsorted(pool.ids, chosen["tile_id"].to_pylist())
    return Ranking(rows, np.full(rows.size, np.nan), len(pool), pool.ids).at(8)


class Items(data.Dataset):
    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, i):
        return self.values[i]


# --- subsets


def test_a_subset_has_the_chosen_tiles_in_their_order(root, pool, selection, chosen):
    for source in (root / "run", selection):
        subset = torch_subset(source, Items(pool.ids.tolist()))
        assert isinstance(subset, data.Subset)
        assert list(subset) == chosen["tile_id"].to_pylist()


def test_a_data_set_in_another_order_says_its_ids(root, pool, selection, chosen):
    ids = np.random.default_rng(0).permutation(np.append(pool.ids, "another")).tolist()
    for source in (str(root / "run"), selection):
        assert list(torch_subset(source, Items(ids), ids=ids)) == chosen["tile_id"].to_pylist()
    with pytest.raises(DataError, match=r"17 items for a pool of 16 tiles.*ids="):
        torch_subset(selection, Items(ids))
    with pytest.raises(DataError, match="16 ids for 17 items"):
        torch_subset(selection, Items(ids), ids=ids[:-1])
    few = [name for name in ids if name != selection.values[3]]
    with pytest.raises(DataError, match="1 of 8 selected tiles are missing from the data set"):
        torch_subset(selection, Items(few), ids=few)


def test_which_selection_of_a_run(root, tmp_path):
    CurateJob(images=[str(root / "images")], masks=[str(root / "masks")], tile=TILE, budget="3",
              methods=["cb", "lc"]).run(tmp_path / "two")  # fmt: skip
    with pytest.raises(ParameterError, match=r"cb, lc.*method='cb'"):
        torch_subset(tmp_path / "two", Items(range(16)))
    with pytest.raises(UnknownNameError, match="no method 'fa'"):
        torch_subset(tmp_path / "two", Items(range(16)), method="fa")
    assert len(torch_subset(tmp_path / "two", Items(range(16)), method="lc")) == 3
    with pytest.raises(DataError, match="holds no run"):
        torch_subset(tmp_path, Items(range(16)))


# --- balance


def test_weights_by_hand():
    # Of 40 pixels of a class 30 are in the first item, and all of the other class in the second.
    assert balanced_weights([[30, 0, 0], [10, 5, 0], [0, 0, 0]]).tolist() == [0.375, 0.625, 0]
    for bad in ([1, 2], [[-1, 2]], [[np.nan, 1]], [[0, 0]]):
        with pytest.raises(DataError):
            balanced_weights(bad)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 99))
def test_weights_are_draws_of_a_class_and_then_an_item(items, classes, seed):
    counts = np.random.default_rng(seed).integers(0, 20, (items, classes))
    counts[0, 0] += 1
    expected, present = np.zeros(items), [c for c in range(classes) if counts[:, c].any()]
    for c in present:
        for i in range(items):
            expected[i] += counts[i, c] / counts[:, c].sum() / len(present)
    np.testing.assert_allclose(balanced_weights(counts), expected)
    assert expected.sum() == pytest.approx(1)


def test_a_balanced_sampler(root, pool, selection):
    one = balanced_sampler(root / "run", samples=4000, seed=3)
    assert isinstance(one, data.WeightedRandomSampler)
    other = balanced_sampler(selection, counts=pool.counts, samples=4000, seed=3)
    drawn = list(one)
    assert drawn == list(other)
    assert drawn != list(one)  # another epoch
    counts = pool.counts[selection.rows]
    plain = counts.sum(axis=0) / counts.sum()
    even = counts[drawn].sum(axis=0) / counts[drawn].sum()
    assert abs(even - 0.5).max() < abs(plain - 0.5).max()
    expected = (balanced_weights(counts)[:, None] * counts).sum(axis=0)
    np.testing.assert_allclose(even, expected / expected.sum(), atol=0.02)
    assert len(balanced_sampler(root / "run")) == 8
    loader = data.DataLoader(torch_subset(root / "run", Items(range(16))), 4, sampler=one)
    assert {int(v) for batch in loader for v in batch} <= set(selection.rows.tolist())


def test_what_has_no_classes(selection, root, tmp_path):
    with pytest.raises(DataError, match=r"no class counts.*counts=pool\.counts"):
        balanced_sampler(selection)
    with pytest.raises(DataError, match="for a pool of 16"):
        balanced_sampler(selection, counts=np.ones((8, 2)))
    CurateJob(images=[str(root / "images")], tile=TILE, budget="3").run(tmp_path / "run")
    with pytest.raises(DataError, match="no class counts"):
        balanced_sampler(tmp_path / "run")


# --- torchgeo


@pytest.fixture(scope="module")
def scenes(root):
    datasets = pytest.importorskip("torchgeo.datasets")
    if not hasattr(pytest.importorskip("torchgeo.samplers"), "SpatialSampler"):
        pytest.skip("torchgeo is older than 0.10")
    return datasets.RasterDataset(str(root / "images"))


def windows(chosen):
    return [tuple(row[name] for name in "yx") for row in chosen.to_pylist()]


def test_a_sampler_of_torchgeo_reads_the_very_windows(root, scenes, pool, selection, chosen):
    samplers = pytest.importorskip("torchgeo.samplers")
    for source, more in ((root / "run", {}), (selection, {"pool": pool})):
        sampler = geo_sampler(source, scenes, shuffle=False, **more)
        assert isinstance(sampler, samplers.SpatialSampler)
        assert sampler.strategy == "sequential"
        assert len(sampler) == 8
        for place, row in zip(sampler, selection.rows, strict=True):
            (expected,) = pool.read([row])
            found = scenes[place]["image"].numpy()
            np.testing.assert_array_equal(found, expected.data.astype(np.float32))
    loader = data.DataLoader(
        scenes, batch_size=4, sampler=geo_sampler(root / "run", scenes),
        collate_fn=lambda batch: np.stack([sample["image"].numpy() for sample in batch]),
    )  # fmt: skip
    assert [batch.shape for batch in loader] == [(4, 3, TILE, TILE)] * 2


def test_the_order_of_an_epoch(root, scenes, pool, selection):
    one, other = (geo_sampler(root / "run", scenes, seed=s) for s in (0, 1))
    first, second = list(one), list(one)
    assert first != second
    assert sorted(map(str, first)) == sorted(map(str, second)) == sorted(map(str, other))
    assert first == list(geo_sampler(selection, scenes, pool=pool, seed=0))
    assert one.strategy == "random"
    weights = np.zeros(8)
    weights[3] = 1
    drawn = list(geo_sampler(root / "run", scenes, weights=weights, length=20))
    assert len(drawn) == 20
    assert len(set(map(str, drawn))) == 1
    assert len(list(geo_sampler(root / "run", scenes, length=3))) == 3


def test_a_data_set_in_another_crs_gets_windows_of_one_size_around_the_same_middles(
    root, scenes, chosen
):
    datasets = pytest.importorskip("torchgeo.datasets")
    other = datasets.RasterDataset(str(root / "images"), crs="EPSG:32634", res=(4, 4))
    sampler = geo_sampler(root / "run", other, shuffle=False)
    sizes = {(round(x.stop - x.start, 6), round(y.stop - y.start, 6)) for x, y in sampler}
    assert len(sizes) == 1
    ((width, height),) = sizes
    assert width % 4 == height % 4 == 0
    from pyproj import Transformer

    back = Transformer.from_crs("EPSG:32634", "EPSG:32633", always_xy=True)
    for (x, y), (row, col) in zip(sampler, windows(chosen), strict=True):
        middle = back.transform((x.start + x.stop) / 2, (y.start + y.stop) / 2)
        expected = BOX.affine @ (col + TILE / 2, row + TILE / 2)
        # The middle of a box around a turned window is the middle of the window, nearly.
        assert middle == pytest.approx(expected, abs=0.5)
    assert len({tuple(other[place]["image"].shape) for place in sampler}) == 1


def test_with_a_sampler_of_time(root, scenes):
    samplers = pytest.importorskip("torchgeo.samplers")
    combined = geo_sampler(
        root / "run", scenes, shuffle=False
    ) @ samplers.SequentialTimestampSampler(scenes)
    assert sum(1 for _ in combined) > 0


def test_what_cannot_be_sampled(root, scenes, selection, tmp_path, pool):
    datasets = pytest.importorskip("torchgeo.datasets")
    with pytest.raises(DataError, match=r"have no windows.*pool="):
        geo_sampler(selection, scenes)
    with pytest.raises(DataError, match="a pool of 4 tiles for a selection from 16"):
        geo_sampler(selection, scenes, pool=pool.take(range(4)))
    for bad in ({"length": 9}, {"weights": [1, 2]}, {"weights": np.zeros(8)}, {"size": 0}):
        with pytest.raises(ParameterError):
            geo_sampler(root / "run", scenes, **bad)
    far = GeoBox((64, 64), Affine(2, 0, 600_000, 0, -2, 4_000_000), "EPSG:32633")
    write_cog(tmp_path / "far/s.tif", np.ones((3, 64, 64), np.uint8), geobox=far)
    with pytest.raises(DataError, match="8 of 8 selected tiles are outside of the data set"):
        geo_sampler(root / "run", datasets.RasterDataset(str(tmp_path / "far")))
    write_cog(tmp_path / "plain/s.tif", np.ones((3, 64, 64), np.uint8))
    CurateJob(images=[str(tmp_path / "plain")], tile=TILE, budget="3").run(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"'s' has no georeference.*torch_subset"):
        geo_sampler(tmp_path / "nowhere", scenes)
    CurateJob(images=[str(root / "images")], tile=48, edge="clip", budget="100%").run(
        tmp_path / "sizes"
    )
    with pytest.raises(DataError, match=r"several sizes.*size=\(48, 48\)"):
        geo_sampler(tmp_path / "sizes", scenes)
    sampler = geo_sampler(tmp_path / "sizes", scenes, size=(8, 16))
    assert {tuple(scenes[place]["image"].shape) for place in sampler} == {(3, 8, 16)}


def test_an_older_torchgeo_is_named(root, scenes, monkeypatch):
    import torchgeo.samplers

    from foveate.models.geo_sampler import _sampler_class

    _sampler_class.cache_clear()
    monkeypatch.delattr(torchgeo.samplers, "SpatialSampler")
    with pytest.raises(MissingExtraError, match=r"0\.10 or later"):
        geo_sampler(root / "run", scenes)
    monkeypatch.undo()
    _sampler_class.cache_clear()
