"""Copies by their pixels: exact, stored anew, shifted; and what only looks alike."""

from __future__ import annotations

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

import foveate as fv
from foveate.curate import rank
from foveate.pool.pictures import Pictures


def ground(seed, side=160, rough=1.5, spread=30.0, noise=2.0):
    """Return an (h, w, 3) uint8 picture of texture and noise."""
    draw = np.random.default_rng(seed)
    relief = gaussian_filter(draw.normal(size=(side, side)), rough)
    grey = 120 + spread * relief / relief.std() + draw.normal(0, noise, (side, side))
    return np.clip(np.stack([grey, grey + 5, grey - 5], axis=-1), 0, 255).astype(np.uint8)


def jpeg(tile, quality):
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(tile)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def pool_of(root, tiles):
    for name, tile in tiles.items():
        Image.fromarray(np.ascontiguousarray(tile)).save(root / f"{name}.png")
    return fv.open_pool(root, tile=next(iter(tiles.values())).shape[0])


def copies(pool, order=None):
    """Return the pairs of names that are copies."""
    order = np.arange(len(pool)) if order is None else order
    names = [str(name).split("/")[0] for name in pool.ids[order]]
    first, second = np.array(list(combinations(range(len(pool)), 2))).T
    found = Pictures(pool, order).copies(first, second)
    return {
        tuple(sorted((names[i], names[j])))
        for i, j in zip(first[found], second[found], strict=True)
    }


@pytest.mark.parametrize("side", [64, 96, 128, 192])
def test_copies_are_found_and_nothing_else(tmp_path, side):
    tiles, expected = {}, set()
    for i in range(3):
        image = ground(i, side + 20)
        tile = image[8 : 8 + side, 8 : 8 + side]
        tiles |= {
            f"{i}-first": tile, f"{i}-exact": tile, f"{i}-jpeg": jpeg(tile, 60),
            f"{i}-shift": image[8 + 4 : 8 + 4 + side, 8 - 3 : 8 - 3 + side],
        }  # fmt: skip
        expected |= set(
            combinations(sorted(f"{i}-{k}" for k in ("first", "exact", "jpeg", "shift")), 2)
        )
    pool = pool_of(tmp_path, tiles)
    assert copies(pool) == expected
    assert copies(pool, np.random.default_rng(0).permutation(len(pool))) == expected


def test_water_is_no_copy_of_water_unless_it_is(tmp_path):
    still = np.full((64, 64, 3), 40, np.uint8)
    slope = np.linspace(60, 120, 64)[:, None, None]
    rippled = [slope + np.random.default_rng(i).normal(0, 2, (64, 64, 3)) for i in range(2)]
    tiles = {
        "deep": still, "deep-again": still, "shallow": still + 1,
        "sea-a": ground(1, 64, spread=0.0), "sea-b": ground(2, 64, spread=0.0),
        "slope-a": rippled[0].astype(np.uint8), "slope-b": rippled[1].astype(np.uint8),
    }  # fmt: skip
    tiles["sea-b-again"] = tiles["sea-b"]
    assert copies(pool_of(tmp_path, tiles)) == {("deep", "deep-again"), ("sea-b", "sea-b-again")}


def test_another_date_is_no_copy(tmp_path):
    image = ground(4, 64)
    change = 20 * gaussian_filter(np.random.default_rng(5).normal(size=(64, 64)), 1.5)[..., None]
    later = np.clip(image + 6 * change, 0, 255).astype(np.uint8)
    tiles = {"first": image, "first-again": image, "later": later}
    assert copies(pool_of(tmp_path, tiles)) == {("first", "first-again")}


def test_what_is_small_or_of_another_size_is_compared_by_its_pixels_alone(tmp_path):
    tiny = {f"t{i}": ground(i, 2) for i in range(2)} | {"t0-again": ground(0, 2)}
    assert copies(pool_of(tmp_path, tiny)) == {("t0", "t0-again")}
    assert Pictures(fv.open_pool(tmp_path, tile=2), np.arange(3)).copies(
        np.empty(0, np.int64), np.empty(0, np.int64)
    ).shape == (0,)


def test_semdedup_asks_the_pixels_where_there_are_any(tmp_path):
    tiles = {f"{i:02d}": ground(i, 64) for i in range(20)}
    tiles["03-copy"] = jpeg(tiles["03"], 70)
    pool = pool_of(tmp_path, tiles)
    names = [str(name).split("/")[0] for name in pool.ids]
    x = np.random.default_rng(0).normal(size=(21, 6))
    x[names.index("11")] = x[names.index("12")]  # a model that sees no difference
    found = rank(pool, "semdedup", embeddings=x)
    assert found.meta["compared"] == "pixels"
    assert found.meta["kept"] == 20
    assert names[found.rows[-1]] in ("03", "03-copy")
    blind = rank(pool, "semdedup", embeddings=x, chance=1e-9)
    assert blind.meta["compared"] == "embeddings"
    assert names[blind.rows[-1]] in ("11", "12")
    no_pixels = rank(fv.Pool.from_arrays(ids=pool.ids), "semdedup", embeddings=x)
    assert no_pixels.meta["compared"] == "embeddings"
