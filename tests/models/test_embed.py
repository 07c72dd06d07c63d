"""Binding a model to bands and ranges, and the loop that embeds a pool."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from foveate.errors import DataError, ParameterError, StorageError
from foveate.grid import Grid
from foveate.models import bind, embed, from_callable, load_model
from foveate.models.embed import band_range, embedding_key, fill_invalid
from foveate.pool import Pool, Scene
from foveate.raster import ArraySource, Raster
from foveate.run import Run, load_embeddings

binding = importlib.import_module("foveate.models.embed")  # `foveate.models.embed` is the function


def pool_of(*arrays, tile=16, valid=None):
    scenes = tuple(Scene(f"s{i}", ArraySource(a, valid)) for i, a in enumerate(arrays))
    tiles = [Grid(s.source.info.shape, tile).tiles(s.scene_id) for s in scenes]
    table = tiles[0].concat(tiles)
    return Pool(ids=table.tile_id, scenes=scenes, tiles=table)


def image(bands=3, dtype="uint8", size=32, seed=0, high=255):
    draw = np.random.default_rng(seed)
    return draw.integers(0, high, (bands, size, size)).astype(dtype)


def means(batch):
    return batch.reshape(*batch.shape[:2], -1).mean(axis=2)


def mean_model(bands=(1,), function=means, dim=None, **options):
    return from_callable(
        function, name="mine", dim=dim or len(bands), bands=bands, fingerprint="1", **options
    )


# --- bind ----------------------------------------------------------------------------------


def test_three_bands_of_four_are_never_guessed():
    pool = pool_of(image(4))
    with pytest.raises(ParameterError, match=r"requires 3 bands, the images have 4.*--bands 1,2,3"):
        bind(load_model("timm:resnet18@random"), pool)
    bound = bind(load_model("timm:resnet18@random", bands=(4, 2, 1)), pool)
    assert bound.spec.bands == (4, 2, 1)


def test_one_band_can_be_repeated_for_a_model_of_three():
    pool = pool_of(image(1))
    with pytest.raises(ParameterError, match=r"--bands 1,1,1"):
        bind(load_model("timm:resnet18@random"), pool)
    with pytest.raises(ParameterError, match=r"bands 1,2,3\. .* --bands 1,1,1"):
        bind(load_model("timm:resnet18@random", bands=(1, 2, 3)), pool)
    assert bind(load_model("builtin", bands=(1, 1, 1)), pool).spec.bands == (1, 1, 1)


def test_images_of_fewer_bands_than_the_model_are_no_images_for_it():
    with pytest.raises(ParameterError, match=r"requires 4 bands, .* 3\. .* a model of 3"):
        bind(load_model("timm:resnet18@random?in_chans=4"), pool_of(image(3)))


def test_bands_that_are_not_there():
    with pytest.raises(ParameterError, match="The images have bands 1 to 3"):
        bind(load_model("builtin", bands=(1, 4)), pool_of(image(3)))
    with pytest.raises(ParameterError, match="2 were given"):
        bind(load_model("timm:resnet18@random", bands=(1, 2)), pool_of(image(3)))


def test_all_bands_where_the_model_takes_any_number():
    assert bind(load_model("builtin"), pool_of(image(5))).spec.bands == (1, 2, 3, 4, 5)


def test_the_range_of_uint8_is_0_to_255():
    assert band_range(pool_of(image(high=50)), (1, 3)) == ((0, 255), (0, 255))


def test_the_range_of_other_dtypes_is_the_2nd_to_98th_percentile_over_all_scenes():
    a, b = image(2, "uint16", seed=1, high=900), image(2, "uint16", seed=2, high=3000)
    found = bind(load_model("builtin"), pool_of(a, b)).spec.scale
    both = np.concatenate([a.reshape(2, -1), b.reshape(2, -1)], axis=1)
    np.testing.assert_allclose(found, np.percentile(both, [2, 98], axis=1).T)


def test_the_range_leaves_invalid_pixels_out_and_is_never_empty():
    data = image(1, "uint16")
    valid = np.ones(data.shape[1:], bool)
    valid[:16] = False
    data[:, ~valid] = 60000
    assert band_range(pool_of(data, valid=valid), (1,))[0][1] < 300
    assert band_range(pool_of(np.full((1, 16, 16), 7, np.uint16)), (1,)) == ((7, 8),)


def test_the_range_of_many_scenes_is_taken_from_a_bounded_sample(monkeypatch):
    monkeypatch.setattr(binding, "_SAMPLE", 4000)
    taken, draw = [], binding._draw

    def note(*arguments):
        taken.append(draw(*arguments))
        return taken[-1]

    monkeypatch.setattr(binding, "_draw", note)
    pool = pool_of(*(image(2, "uint16", size=64, seed=i, high=1000 + i) for i in range(40)))
    found = band_range(pool, (1, 2))
    assert len(taken) == 15  # as many as leave each scene 256 values
    assert {v.shape[1] for v in taken} == {266}
    assert {v.dtype for v in taken} == {np.dtype("uint16")}
    np.testing.assert_allclose(found, [(20, 1000)] * 2, atol=15)
    backwards = Pool(ids=pool.ids, scenes=pool.scenes[::-1], tiles=pool.tiles)
    assert band_range(backwards, (1, 2)) == found


def test_the_range_of_images_without_a_valid_pixel():
    nowhere = np.zeros((32, 32), bool)
    with pytest.raises(DataError, match="no valid pixels, so the value range"):
        band_range(pool_of(image(1, "uint16"), valid=nowhere), (1,))


def test_the_range_is_measured_once_in_a_run(tmp_path, monkeypatch):
    pool, calls = pool_of(image(2, "uint16", high=3000)), []

    def count(*arguments):
        calls.append(arguments)
        return band_range(*arguments)

    monkeypatch.setattr(binding, "band_range", count)
    a = embed(pool, load_model("builtin"), run=tmp_path)
    b = embed(pool, load_model("builtin"), run=tmp_path)
    assert len(calls) == 1
    assert a.spec == b.spec == bind(load_model("builtin"), pool).spec
    embed(pool, load_model("builtin", bands=(2,)), run=tmp_path)
    assert len(calls) == 3  # once for the object above


@pytest.mark.parametrize(
    ("scale", "expected"), [(((0, 9),), ((0, 9),) * 2), (((0, 9), (1, 8)), ((0, 9), (1, 8)))]
)
def test_the_range_of_the_user_wins(scale, expected):
    assert (
        bind(load_model("builtin", scale=scale), pool_of(image(2, "uint16"))).spec.scale == expected
    )


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        (((0, 9),) * 3, "3 value ranges for 2 bands"),
        (((9, 9),), "low below high"),
        (((0, np.nan),), "low below high"),
    ],
)
@pytest.mark.parametrize("name", ["builtin", "timm:resnet18@random?in_chans=2"])
def test_ranges_that_cannot_be(name, scale, text):
    with pytest.raises(ParameterError, match=text):
        bind(load_model(name, scale=scale), pool_of(image(2)))


def test_a_pool_of_arrays_has_nothing_to_embed():
    with pytest.raises(DataError, match="no pixels to embed"):
        embed(Pool.from_arrays(n=3), load_model("builtin"))


# --- embed ---------------------------------------------------------------------------------


def test_rows_are_in_the_order_of_the_pool_and_bands_in_the_order_asked_for():
    data = np.arange(4)[:, None, None] * 10 + np.repeat(np.arange(3), 16)[None, None]
    pool = pool_of(data.repeat(16, axis=1).astype(np.uint8))
    found = embed(pool, mean_model((3, 1)))
    assert found.ids.tolist() == pool.ids.tolist()
    assert found.x.dtype == np.float16
    np.testing.assert_array_equal(found.x, [[20, 0], [21, 1], [22, 2]])


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_vectors_do_not_depend_on_the_batch_size(batch_size):
    pool = pool_of(image(size=48))
    a = embed(pool, load_model("builtin"), batch_size=batch_size).x
    np.testing.assert_array_equal(a, embed(pool, load_model("builtin")).x)


def test_tiles_of_several_sizes_are_batched_apart():
    pool = pool_of(image(1), image(1, size=12), image(1, size=16))
    shapes = []

    def note(batch):
        shapes.append(batch.shape)
        return means(batch)

    embed(pool, mean_model(function=note))
    assert shapes == [(5, 1, 16, 16), (1, 1, 12, 12)]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_invalid_pixels_get_the_mean_of_the_valid_ones_of_their_band(dtype):
    data = np.array([[[10, 20], [99, 99]], [[1, 2], [99, 99]]], dtype)
    valid = np.array([[True, True], [False, False]])
    filled = fill_invalid(Raster(data, valid))
    assert filled.dtype == dtype
    means_ = [15, 2 if dtype != "float32" else 1.5]
    assert filled[:, 1].tolist() == [[m, m] for m in means_]
    assert data[0, 1, 1] == 99
    assert (
        fill_invalid(Raster(data, np.zeros((2, 2), bool))).tolist() == np.zeros((2, 2, 2)).tolist()
    )


def test_nan_never_reaches_the_model():
    data = image(1, "float32")
    data[0, 3, 4] = np.nan
    assert np.isfinite(embed(pool_of(data), mean_model()).x).all()


@pytest.mark.parametrize("in_run", [True, False])
@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_vectors_that_cannot_be_stored_are_refused_in_memory_too(tmp_path, in_run, value):
    model = mean_model(function=lambda batch: means(batch) * 0 + value)
    with pytest.raises(DataError, match=r"embedding of 's0/y000000_x000000_16x16'.*float16"):
        embed(pool_of(image(1)), model, run=tmp_path if in_run else None)


def test_an_embedding_in_a_run_is_not_repeated(tmp_path):
    pool, calls = pool_of(image(1)), []

    def count(batch):
        calls.append(len(batch))
        return means(batch)

    a = embed(pool, mean_model(function=count), run=tmp_path)
    b = embed(pool, mean_model(function=count), run=tmp_path)
    assert calls == [4]
    np.testing.assert_array_equal(a.x, b.x)


def test_another_range_gives_other_vectors_in_the_same_run(tmp_path):
    pool = pool_of(image(2, "uint16"))
    a = np.array(embed(pool, load_model("builtin", scale=((0, 255),)), run=tmp_path).x)
    b = np.array(embed(pool, load_model("builtin", scale=((0, 999),)), run=tmp_path).x)
    fresh = embed(pool, load_model("builtin", scale=((0, 999),))).x
    np.testing.assert_array_equal(b, fresh)
    assert (a != b).any()


def test_going_back_to_an_earlier_setting_embeds_nothing(tmp_path):
    pool, calls = pool_of(image(2, "uint16")), []

    def model(bands):
        def count(batch):
            calls.append(len(batch))
            return means(batch)

        return mean_model(bands, function=count)

    a = np.array(embed(pool, model((1,)), run=tmp_path).x)
    embed(pool, model((2,)), run=tmp_path)
    assert calls == [4, 4]
    np.testing.assert_array_equal(embed(pool, model((1,)), run=tmp_path).x, a)
    assert calls == [4, 4]


def test_a_run_is_locked_while_it_is_embedded_into(tmp_path):
    pool = pool_of(image(1))
    with Run.create(tmp_path / "run") as run:
        with pytest.raises(StorageError, match="written by another process"):
            embed(pool, mean_model(), run=tmp_path / "run")
        found = embed(pool, mean_model(), run=run)
        assert run.worked
    assert list(Run.load(tmp_path / "run").record["steps"]) == ["embed mine"]
    np.testing.assert_array_equal(load_embeddings(tmp_path / "run").x, found.x)


def test_a_shard_that_was_lost_is_made_again(tmp_path):
    pool = pool_of(image(1))
    x = np.array(embed(pool, mean_model(), run=tmp_path).x)
    next(tmp_path.rglob("part-*.parquet")).unlink()
    np.testing.assert_array_equal(embed(pool, mean_model(), run=tmp_path).x, x)


def test_an_interrupted_embedding_goes_on_where_it_stopped(tmp_path):
    pool, calls = pool_of(image(1, size=160)), []  # 100 tiles: two shards

    def fails_late(batch):
        calls.append(len(batch))
        if sum(calls) > 64:
            raise KeyboardInterrupt
        return means(batch)

    with pytest.raises(KeyboardInterrupt):
        embed(pool, mean_model(function=fails_late), run=tmp_path)
    calls.clear()
    found = embed(
        pool, mean_model(function=lambda b: calls.append(len(b)) or means(b)), run=tmp_path
    )
    assert sum(calls) == 36
    np.testing.assert_array_equal(found.x, embed(pool, mean_model()).x)


def test_the_key_changes_with_pixels_tiles_and_model():
    model = mean_model()
    base = pool_of(image(1))
    keys = {
        embedding_key(base, model.spec),
        embedding_key(pool_of(image(1, seed=9)), model.spec),
        embedding_key(base.take([0, 1]), model.spec),
        embedding_key(base, mean_model(bands=(1, 1)).spec),
    }
    assert len(keys) == 4
    assert embedding_key(pool_of(image(1)), model.spec) in keys


def test_imagery_in_another_unit_than_the_weights_know_is_refused():
    handle = replace(load_model("builtin"), native_scale=((0.0, 10_000.0),) * 2)
    draw = np.random.default_rng(0)
    reflectance = draw.uniform(0, 1, (2, 32, 32)).astype(np.float32)
    with pytest.raises(ParameterError, match=r"another unit.*--scale 0,0\.98"):
        bind(handle, pool_of(reflectance))
    counts = draw.integers(0, 4000, (2, 32, 32)).astype(np.uint16)
    assert bind(handle, pool_of(counts)).spec.scale == handle.native_scale


def test_the_unit_of_decibels_is_known_by_its_magnitude():
    handle = replace(load_model("builtin"), native_scale=((-32.0, -8.0), (-23.0, -2.0)))
    draw = np.random.default_rng(0)
    decibels = draw.uniform(-28, -4, (2, 32, 32)).astype(np.float32)
    assert bind(handle, pool_of(decibels)).spec.scale == handle.native_scale
    with pytest.raises(ParameterError, match="another unit"):
        bind(handle, pool_of((10 ** (decibels / 10)).astype(np.float32)))


# --- constant tiles ------------------------------------------------------------------------


def test_tiles_of_one_value_in_each_band_are_marked(tmp_path):
    blank = image(2, size=32)
    blank[0, :16, :16], blank[1, :16, :16] = 128, 7  # one value per band
    blank[:, :16, 16:] = 9
    blank[1, 3, 20] = 10  # except one pixel
    pool = pool_of(blank, image(2, seed=1))
    for run in (None, tmp_path / "run"):
        found = embed(pool, mean_model((1, 2)), run=run, batch_size=3)
        assert found.constant.dtype == bool
        assert found.ids[found.constant].tolist() == ["s0/y000000_x000000_16x16"]
    np.testing.assert_array_equal(load_embeddings(tmp_path / "run").constant, found.constant)


def test_invalid_pixels_do_not_count_for_constant_tiles():
    data, valid = image(1), np.ones((32, 32), bool)
    data[0, :16, :16] = 50
    data[0, 4, 4], valid[4, 4] = 99, False
    data[0, 16:, 16:], valid[16:, 16:] = 3, False
    found = embed(pool_of(data, valid=valid), mean_model())
    assert found.constant.tolist() == [True, False, False, True]


def test_shards_without_the_column_of_constant_tiles_can_be_read(tmp_path):
    pool = pool_of(image(1))
    embed(pool, mean_model(), run=tmp_path / "run")
    [file] = (tmp_path / "run").glob("embeddings/*/part-*.parquet")
    pq.write_table(pq.read_table(file).drop_columns(["constant"]), file)
    assert load_embeddings(tmp_path / "run").constant is None
