"""SemDeDup on the procedural world: planted copies go, and rare classes stay."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import foveate as fv
from foveate.curate import rank
from foveate.world import CLASSES, WorldSpec, make_scene

SIZE, SCENES, TILE, STEP, SHIFT = 560, 14, 128, 136, 4
KINDS = ("exact", "jpeg", "shift")


def plant(root):
    """Write tiles, and of every third one a copy; return the class counts of each tile."""
    draw = np.random.default_rng(5)
    spec = WorldSpec(scenes=SCENES, size=SIZE, bands=3, dtype="uint8", seed=5, cloud=0.0,
                     nodata_border=False)  # fmt: skip
    counts, places = {}, range(SHIFT, SIZE - TILE - SHIFT, STEP)
    for index in range(SCENES):
        scene = make_scene(spec, index)
        image = np.moveaxis(scene.image, 0, -1)
        for y in places:
            for x in places:
                name = f"t{len(counts):04d}"
                inside = np.s_[y : y + TILE, x : x + TILE]
                tile = image[inside]
                write(root / f"{name}_first.png", tile)
                if len(counts) % 3 == 0:
                    kind = KINDS[len(counts) // 3 % 3]
                    if kind == "jpeg":
                        stream = io.BytesIO()
                        Image.fromarray(tile).save(stream, "JPEG", quality=85)
                        tile = np.asarray(Image.open(stream))
                    elif kind == "shift":
                        dy, dx = draw.integers(-SHIFT, SHIFT + 1, 2)
                        tile = image[y + dy : y + dy + TILE, x + dx : x + dx + TILE]
                    write(root / f"{name}_{kind}.png", tile)
                counts[name] = np.bincount(scene.labels[inside].ravel(), minlength=len(CLASSES))
    return counts


def write(path, tile):
    Image.fromarray(np.ascontiguousarray(tile)).save(path)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    root = tmp_path_factory.mktemp("planted")
    counts = plant(root)
    pool = fv.open_pool(root, tile=TILE)
    stems = [str(i).split("/")[0].split("_") for i in pool.ids]
    return pool, fv.embed(pool, fv.load_model("builtin")), stems, counts


@pytest.mark.slow
def test_planted_copies_are_ranked_last_and_little_else_is(planted):
    pool, embeddings, stems, counts = planted
    ranking = rank(pool, "semdedup", embeddings=embeddings, max_overlap=1)
    kept = ranking.rows[: ranking.meta["kept"]]
    copies = len(stems) - len(counts)
    lost = len(counts) - len({stems[row][0] for row in kept})
    removed = len(stems) - len(kept) - lost
    assert removed >= 0.95 * copies
    assert lost <= 0.01 * len(counts)


@pytest.mark.slow
def test_rare_classes_keep_their_share_in_half_of_the_pool(planted):
    pool, embeddings, stems, counts = planted
    table = np.array([counts[name] for name, _ in stems])
    share = table.sum(axis=0) / table.sum()
    rare = (share > 0) & (share < 0.05)
    assert rare.sum() >= 3
    ranking = rank(pool, "semdedup", embeddings=embeddings, max_overlap=1, keep=0.5)
    chosen = table[ranking.at("50%").rows]
    found = chosen.sum(axis=0) / chosen.sum()
    assert found[rare].sum() >= share[rare].sum()
    assert (found[rare] >= 0.8 * share[rare]).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_with_masks_each_rare_class_keeps_its_share(planted, seed):
    pool, embeddings, stems, counts = planted
    table = np.array([counts[name] for name, _ in stems])
    share = table.sum(axis=0) / table.sum()
    labelled = replace(pool, counts=table)
    ranking = rank(
        labelled, "semdedup", embeddings=embeddings, max_overlap=1, keep=0.5, seed=seed
    )  # fmt: skip
    chosen = table[ranking.at("50%").rows]
    found = chosen.sum(axis=0) / chosen.sum()
    rare = (share > 0) & (share < 0.05)
    assert (found[rare] >= share[rare]).all()
