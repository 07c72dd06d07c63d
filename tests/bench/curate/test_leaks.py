"""Planted leaks are found: pixels, windows, ground."""

import shutil

import numpy as np
import pytest
from affine import Affine
from labelled import write_labelled
from odc.geo.geobox import GeoBox

from foveate.bench.curate.design import folds_of, joined_pools
from foveate.bench.curate.leaks import find_leaks, pixel_digests, refuse_leaks
from foveate.errors import DataError
from foveate.pool import open_pool
from foveate.raster import write_cog


def _pool(root, **more):
    return open_pool(root / "images", masks=root / "masks", tile=16, **more)


def _placed(root, name, x, *, seed):
    """Write an image and a mask of 16 px of 10 m, `x` metres east."""
    draw = np.random.default_rng(seed)
    box = GeoBox((16, 16), Affine(10, 0, 500_000 + x, 0, -10, 5_000_000), "EPSG:32633")
    for part, data in (
        ("images", draw.integers(0, 255, (3, 16, 16), np.uint8)),
        ("masks", draw.integers(0, 2, (1, 16, 16), np.uint8)),
    ):
        (root / part).mkdir(parents=True, exist_ok=True)
        write_cog(root / part / f"{name}.tif", data, geobox=box)


def test_independent_images_have_no_leak(tmp_path):
    write_labelled(tmp_path, n=4, side=16, classes=2, seed=0)
    design = folds_of(_pool(tmp_path), "scene", 2)
    assert find_leaks(design, pixel_digests(design.pool)) == []


def test_a_copy_under_another_name_is_a_leak(tmp_path):
    for name, seed in (("train", 0), ("test", 1)):
        write_labelled(tmp_path / name, n=3, side=16, classes=2, seed=seed)
    for part in ("images", "masks"):
        source = min((tmp_path / "train" / part).iterdir())
        shutil.copy(source, tmp_path / "test" / part / f"zz{source.suffix}")
    design = joined_pools(_pool(tmp_path / "train"), _pool(tmp_path / "test"))
    leaks = find_leaks(design, pixel_digests(design.pool))
    assert [leak.kind for leak in leaks] == ["pixels"]
    with pytest.raises(DataError, match="1 pairs with the same pixels") as caught:
        refuse_leaks(leaks)
    assert leaks[0].test in caught.value.given
    assert "--allow-leaks" in caught.value.hint


@pytest.mark.parametrize(
    ("x", "buffer", "expected"),
    [(150, 0, 1), (160, 0, 0), (160, 30, 1), (220, 30, 0), (220, 100, 1)],
)
def test_the_same_ground_on_another_date_and_near_ground(tmp_path, x, buffer, expected):
    _placed(tmp_path / "train", "june", 0, seed=0)
    _placed(tmp_path / "test", "july", x, seed=1)
    design = joined_pools(_pool(tmp_path / "train"), _pool(tmp_path / "test"))
    leaks = find_leaks(design, pixel_digests(design.pool), buffer)
    assert len(leaks) == expected
    assert all(leak.kind == "ground" for leak in leaks)


@pytest.mark.parametrize(("buffer", "expected"), [(0, 0), (3000, 0), (4000, 1)])
def test_near_ground_across_180_degrees(tmp_path, buffer, expected):
    for i, (part, x) in enumerate({"train": 179.98, "test": -179.99}.items()):  # 3.2 km apart
        draw, step = np.random.default_rng(i), 0.001 / 16
        box = GeoBox((16, 16), Affine(step, 0, x, 0, -step, 10), "EPSG:4326")
        for kind in ("images", "masks"):
            (tmp_path / part / kind).mkdir(parents=True)
            data = draw.integers(0, 2, (1, 16, 16), np.uint8)
            write_cog(tmp_path / part / kind / f"{part}.tif", data, geobox=box)
    design = joined_pools(_pool(tmp_path / "train"), _pool(tmp_path / "test"))
    assert len(find_leaks(design, buffer=buffer)) == expected


def test_plain_tiles_are_no_copies_of_each_other(tmp_path):
    write_labelled(tmp_path, n=2, side=16, classes=2, seed=0)
    design = folds_of(_pool(tmp_path), "scene")
    plain = np.zeros((3, 16, 16), np.uint8)
    reads = [type("R", (), {"data": plain})] * 2
    pool = type("P", (), {"read": lambda self: iter(reads)})()
    assert len(set(pixel_digests(pool))) == 2
    assert find_leaks(design, pixel_digests(pool)) == []


def test_what_validates_is_compared_with_both_others(tmp_path):
    for name, seed in (("train", 0), ("test", 1), ("val", 2)):
        write_labelled(tmp_path / name, n=2, side=16, classes=2, seed=seed)
    for part in ("images", "masks"):
        for name in ("train", "test"):
            source = min((tmp_path / name / part).iterdir())
            shutil.copy(source, tmp_path / "val" / part / f"of_{name}{source.suffix}")
    design = joined_pools(*(_pool(tmp_path / name) for name in ("train", "test", "val")))
    leaks = find_leaks(design, pixel_digests(design.pool))
    parts = {(leak.train.split("/")[0], leak.test.split("/")[0]) for leak in leaks}
    assert parts == {("train", "val"), ("val", "test")}
