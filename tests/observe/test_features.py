"""Tokens of overviews and tiles, from models with tokens and without."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.embeddings import EncoderSpec
from foveate.errors import MissingCapabilityError
from foveate.grid import Grid, Tiles
from foveate.models.capabilities import TokenSpec
from foveate.models.families.builtin import Builtin
from foveate.observe.data.pairs import Pairs
from foveate.observe.features import (
    OverviewTokens,
    TileTokens,
    encode_overviews,
    encode_tiles,
    overview_pool,
    resample_tokens,
    structural_saliency,
)
from foveate.pool.pool import Pool, Scene
from foveate.raster import ArraySource
from foveate.run import Run


def area(x, shape):
    """Average (b, h, w, d) over the areas of a coarser or finer grid, by repeating pixels."""
    b, h, w, d = x.shape
    wide = x.astype(np.float64).repeat(shape[0], 1).repeat(shape[1], 2)
    return wide.reshape(b, shape[0], h, shape[1], w, d).mean((2, 4))


class Fixed:
    """A model whose tokens are the mean colour of patches, and its square root; of one size."""

    token_spec = TokenSpec(dim=4, space="backbone")

    def __init__(self, size=(28, 28), step=4):
        self.size, self.step, self.calls = size, step, []
        self.spec = EncoderSpec(
            "fake", 3, bands=(1, 2, 3), input_size=size, fingerprint="1", non_negative=True
        )

    def embed(self, batch):
        return batch.mean(axis=(2, 3)).astype(np.float32)

    def tokens(self, batch):
        self.calls.append(batch.shape)
        grid = (self.size[0] // self.step, self.size[1] // self.step)
        found = area(batch.transpose(0, 2, 3, 1), grid)
        root = np.sqrt(found.sum(-1, keepdims=True))
        return np.concatenate([found, root], axis=-1).astype(np.float32)


class AnySize(Fixed):
    """The same for inputs of any size."""

    def __init__(self, size=(24, 24), step=4):
        super().__init__(size, step)
        self.size_step = step

    def at_size(self, side):
        other = AnySize((side, side) if isinstance(side, int) else side, self.step)
        other.calls = self.calls
        return other


def builtin():
    return Builtin((1, 2, 3), [(0, 255)] * 3)


MODELS = {"any size": AnySize, "one size": Fixed, "builtin": builtin}
WIDTHS = {"any size": 4, "one size": 4, "builtin": builtin().spec.dim}


def images(b, h, w, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (b, 3, h, w), dtype=np.uint8)


class Unreadable(ArraySource):
    """An array that nobody may look at."""

    def read(self, window=None, *, bands=None, out_shape=None):
        raise AssertionError("HR was read")


def pairs(shape=(2, 3), hr=(48, 60), lr=(12, 15), source=ArraySource, names=("b", "c", "a")):
    scenes = tuple(Scene(name, source(images(1, *hr, seed=i)[0])) for i, name in enumerate(names))
    overviews = tuple(
        Scene(name, ArraySource(images(1, *lr, seed=10 + i)[0])) for i, name in enumerate(names)
    )
    tiles = Tiles.concat([Grid.split(hr, *shape).tiles(name) for name in names])
    tiles = tiles.take(np.argsort(tiles.tile_id))
    pool = Pool(ids=tiles.tile_id, scenes=scenes, tiles=tiles)
    return Pairs(pool, overviews, shape, groups=names)


@given(old=st.tuples(st.integers(1, 9), st.integers(1, 9)), data=st.data(), seed=st.integers(0, 99))
def test_fewer_tokens_are_exact_means_by_area(old, data, seed):
    new = (data.draw(st.integers(1, old[0])), data.draw(st.integers(1, old[1])))
    x = np.random.default_rng(seed).normal(size=(2, *old, 3)).astype(np.float32)
    found = resample_tokens(x, new)
    assert found.dtype == np.float32
    assert np.allclose(found, area(x, new), atol=1e-5)
    assert np.allclose(found.mean((1, 2)), x.mean((1, 2)), atol=1e-5)
    assert np.array_equal(resample_tokens(x, old), x)


@given(old=st.integers(1, 6), more=st.integers(0, 9))
def test_more_tokens_are_interpolated(old, more):
    x = np.random.default_rng(old).normal(size=(1, old, 2, 1))
    new = old + more
    at = (np.arange(new) + 0.5) * old / new - 0.5
    found = resample_tokens(x, (new, 2))
    for column in range(2):
        expected = np.interp(at, np.arange(old), x[0, :, column, 0])
        assert np.allclose(found[0, :, column, 0], expected, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("grid", "side", "size"),
    [((1, 1), 1, (9, 8)), ((2, 3), 1, (12, 18)), ((2, 3), 1, (13, 17)), ((3, 2), 2, (5, 7))],
)
def test_overviews_have_so_many_tokens_in_any_batch(name, grid, side, size):
    adapter = OverviewTokens(MODELS[name](), grid, side)
    width = WIDTHS[name] * (1 if name != "builtin" else 2)
    batch = images(3, *size)
    found = adapter.embed(batch)
    assert found.dtype == np.float32
    assert found.shape == (3, adapter.spec.dim) == (3, grid[0] * grid[1] * side**2 * width)
    assert adapter.width == width
    grids = adapter.unpack(found)
    assert grids.shape == (3, grid[0] * side, grid[1] * side, width)
    assert np.array_equal(grids.reshape(3, -1), found)
    assert np.isfinite(found).all()
    assert np.array_equal(adapter.embed(batch[[2]])[0], found[2])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
@pytest.mark.parametrize("size", [(24, 36), (23, 37)])
def test_tokens_lie_where_the_pixels_do(name, corner, size):
    image = np.full((1, 3, *size), 20, np.uint8)
    rows = slice(0, 4) if corner[0] == 0 else slice(-4, None)
    cols = slice(0, 4) if corner[1] == 0 else slice(-4, None)
    bright = image.copy()
    bright[:, :, rows, cols] = 250
    adapter = OverviewTokens(MODELS[name](), (3, 4), 1)
    change = adapter.unpack(adapter.embed(bright) - adapter.embed(image))[0]
    at = np.unravel_index((change**2).sum(-1).argmax(), (3, 4))
    assert at == (corner[0] % 3, corner[1] % 4)
    if name == "builtin":  # the first half shows the cell alone
        alone = np.abs(change[..., : change.shape[-1] // 2]).sum(-1) > 0
        assert alone.sum() == 1


def test_a_model_that_takes_any_size_makes_one_token_of_each_cell():
    model = AnySize()
    adapter = OverviewTokens(model, (3, 5), 2)
    assert adapter.spec.input_size == (24, 40)
    batch = images(2, 30, 50)
    found = adapter.unpack(adapter.embed(batch))
    assert np.allclose(found[..., :3], area(batch.transpose(0, 2, 3, 1), (6, 10)), atol=1e-3)
    large = OverviewTokens(AnySize((1200, 1200), 300), (3, 5), 2)  # more than an input may have
    assert large.spec.input_size == (1200, 1200)
    assert large.embed(batch).shape == (2, 6 * 10 * 4)


def test_model_without_tokens_encodes_a_cell_and_its_surroundings():
    model, image = builtin(), images(1, 12, 20)
    adapter = OverviewTokens(model, (3, 5), 1)
    found = adapter.unpack(adapter.embed(image))[0]
    assert np.array_equal(found[1, 2, :1078], model.embed(image[:, :, 4:8, 8:12])[0])
    assert np.array_equal(found[1, 2, 1078:], model.embed(image[:, :, :, 4:16])[0])
    assert np.array_equal(found[0, 0, 1078:], model.embed(image[:, :, :8, :8])[0])
    assert np.array_equal(found[2, 4, 1078:], model.embed(image[:, :, 4:, 12:])[0])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("vector", [False, True])
def test_tiles_have_tokens_a_vector_and_saliency(name, side, vector):
    model = MODELS[name]()
    adapter = TileTokens(model, side, vector=vector)
    batch = images(3, 21, 30)
    batch[1, :, :, :] = 90  # the same everywhere
    found = adapter.embed(batch)
    assert found.dtype == np.float32
    assert found.shape == (3, adapter.spec.dim)
    tokens, vectors, saliency = adapter.unpack(found)
    assert tokens.shape == (3, side * side, WIDTHS[name])
    if name == "builtin":
        halves = [(slice(0, 11), slice(10, 21)), (slice(0, 15), slice(15, 30))]
        parts = [[model.embed(batch[:, :, i, j]) for j in halves[1]] for i in halves[0]]
        whole = np.array(parts).transpose(2, 0, 1, 3)
    else:
        whole = model.tokens(batch)
    expected = resample_tokens(whole, (side, side)).reshape(tokens.shape)
    assert np.allclose(tokens, expected, atol=1e-5)
    assert np.allclose(saliency, structural_saliency(whole), atol=1e-6)
    assert saliency[1] == pytest.approx(0, abs=1e-6)
    assert saliency[0] > 0
    assert (vectors is None) == (not vector)
    if vector:
        assert np.array_equal(vectors, model.embed(batch))
    packed = [tokens.reshape(3, -1), *([] if vectors is None else [vectors]), saliency[:, None]]
    assert np.array_equal(np.concatenate(packed, axis=1), found)
    assert np.array_equal(adapter.embed(batch[[0]])[0], found[0])


def test_specs_tell_apart_what_was_kept():
    model = AnySize()
    specs = [
        OverviewTokens(model, (2, 3), 1).spec, OverviewTokens(model, (2, 3), 2).spec,
        OverviewTokens(model, (3, 2), 1).spec, TileTokens(model, 1).spec,
        TileTokens(model, 2).spec, TileTokens(model, 2, vector=True).spec, model.spec,
    ]  # fmt: skip
    assert len({str(spec.to_dict()) for spec in specs}) == len(specs)
    assert not any(spec.non_negative for spec in specs[:-1])  # saliency and tokens need not be


@pytest.mark.parametrize("name", ["any size", "builtin"])
def test_overviews_are_encoded_without_a_look_at_high_resolution(name):
    given = pairs(source=Unreadable)
    model = MODELS[name]()
    found = encode_overviews(given, model, 2)
    adapter = OverviewTokens(model, (2, 3), 2)
    assert found.shape == (3, 4, 6, adapter.width)
    assert found.dtype == np.float16
    for scene, tokens in zip(given.overviews, found, strict=True):  # in the order of the scenes
        expected = adapter.unpack(adapter.embed(scene.source.data[None]))[0]
        assert np.allclose(tokens, expected, rtol=2e-3, atol=1e-3)
    names = [scene.scene_id for scene in overview_pool(given.overviews).scenes]
    assert sorted(names) == ["a", "b", "c"]
    with pytest.raises(AssertionError, match="HR was read"):
        encode_tiles(given, model, 2)


def test_a_scene_of_fewer_tiles_is_continued_by_its_mirror_image():
    model = AnySize()
    whole, small = pairs((2, 3)), pairs((1, 2))
    mixed = replace(whole, overviews=(*small.overviews[:1], *whole.overviews[1:]),
                    grids=((1, 2), (2, 3), (2, 3)))  # fmt: skip
    found = encode_overviews(mixed, model, 2)
    own, rest = encode_overviews(small, model, 2), encode_overviews(whole, model, 2)
    np.testing.assert_array_equal(found[1:], rest[1:])
    np.testing.assert_array_equal(found[0, :2, :4], own[0])
    np.testing.assert_array_equal(found[0, 2:, :4], own[0, ::-1])
    np.testing.assert_array_equal(found[0, :2, 4:], own[0, :, :1:-1])


@pytest.mark.parametrize("shape", [(2, 3), (1, 1), (5, 7)])
def test_tiles_are_encoded_in_the_order_of_the_pool(shape):
    given, model = pairs(shape), AnySize()  # 48 and 60 pixels do not divide by 5 and 7
    found = encode_tiles(given, model, 2, vector=True, batch_size=4)
    assert found.tokens.shape == (len(given), 4, 4)
    assert found.tokens.dtype == np.float16
    tiles = given.pool.tiles
    adapter = TileTokens(model, 2, vector=True)
    for row in (0, len(given) // 2, len(given) - 1):
        y, x, h, w = (int(column[row]) for column in (tiles.y, tiles.x, tiles.h, tiles.w))
        source = given.pool.scenes[int(given.place[row, 0])].source
        image = source.data[None, :, y : y + h, x : x + w]
        tokens, vectors, saliency = adapter.unpack(adapter.embed(image))
        assert np.allclose(found.tokens[row], tokens[0], rtol=2e-3)
        assert np.allclose(found.vectors[row], vectors[0], rtol=2e-3)
        assert np.allclose(found.saliency[row], saliency[0], atol=1e-3)


def test_what_is_kept_is_not_encoded_again(tmp_path):
    given, model = pairs(), AnySize()

    def encode():
        with Run.create(tmp_path / "run") as run:
            seen = encode_tiles(given, model, 2, run=run)
            return np.array(seen.tokens), np.array(encode_overviews(given, model, 1, run=run))

    first, calls = encode(), len(model.calls)
    again = encode()
    assert len(model.calls) == calls > 0
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_model_that_only_answers_is_refused():
    @dataclass
    class Answers:
        spec = replace(builtin().spec, name="answers")

    with pytest.raises(MissingCapabilityError, match="capability 'embed' required for observe"):
        encode_overviews(pairs(), Answers(), 1)
