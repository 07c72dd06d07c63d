from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rasterio.warp import transform
from tests.helpers.observed import write_objects, write_scenes

from foveate.errors import DataError, ParameterError
from foveate.observe.data.concepts import Concept
from foveate.observe.data.labels import check_texts, concept_shares, labels_of_pairs, read_objects
from foveate.observe.data.pairs import Pairs, open_pairs
from foveate.observe.jobs import PrepareJob
from foveate.pool import Pool, Scene, open_pool
from foveate.raster import ArraySource, write_cog

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = write_scenes(tmp_path / "in", names=("a", "b"))
    PrepareJob(
            images=[str(folder / "images")], masks=[str(folder / "masks")], tiles=(3, 4), ratio=5,
            classes=str(folder / "classes.yaml"), concepts=[{"name": "water"}],
        ).run(tmp_path / "pairs",
    )  # fmt: skip
    return tmp_path


def test_a_run_of_something_else_holds_no_pairs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no run"):
        open_pairs(tmp_path)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("in/images/a.tif", "the scene 'a' has changed"),
        ("in/masks/b.tif", "the mask of 'b' has changed"),
        ("pairs/overviews/a.tif", "the overview of 'a' has changed"),
    ],
)
def test_files_that_changed_or_went(root: Path, file: str, said: str) -> None:
    assert len(open_pairs(root / "pairs")) == 24
    shape = (12, 16) if "overviews" in file else (60, 80)
    bands = 1 if "masks" in file else 3
    write_cog(root / file, np.ones((bands, *shape), np.uint8))
    with pytest.raises(DataError, match=said):
        open_pairs(root / "pairs")
    (root / file).unlink()
    with pytest.raises(DataError, match=r"missing|no mask"):
        open_pairs(root / "pairs")


def test_scenes_that_came_later_do_not_matter(root: Path) -> None:
    before = open_pairs(root / "pairs")
    write_scenes(root / "in2", names=("c",))
    for kind in ("images", "masks"):
        (root / "in2" / kind / "c.tif").rename(root / "in" / kind / "c.tif")
    after = open_pairs(root / "pairs")
    assert after.pool.ids.tolist() == before.pool.ids.tolist()
    assert [s.scene_id for s in after.pool.scenes] == ["a", "b"]


def test_a_scene_without_tiles_keeps_the_numbers_of_the_others(tmp_path: Path) -> None:
    for name, value in (("a", 9), ("b", 0), ("c", 9)):
        write_cog(tmp_path / f"i/{name}.tif", np.full((1, 40, 40), value, np.uint8), nodata=0)
    job = PrepareJob(images=[str(tmp_path / "i")], tiles=(2, 2), ratio=5, skip_empty=True)
    job.run(tmp_path / "pairs")
    pairs = open_pairs(tmp_path / "pairs")
    assert [s.scene_id for s in pairs.overviews] == ["a", "b", "c"]
    assert pairs.place[:, 0].tolist() == [0] * 4 + [2] * 4


def test_parts_that_do_not_belong_together() -> None:
    scene = Scene("a", ArraySource(np.zeros((1, 8, 8), np.uint8)))
    pool = Pool(np.array(["x"]), scenes=(scene,))
    good = Pairs(pool, (scene,), (1, 2), ("a",), (Concept("w"),), np.zeros((1, 1), np.float32))
    for bad in (
        {"overviews": ()},
        {"overviews": (dataclasses.replace(scene, scene_id="b"),)},
        {"groups": ()},
        {"shares": np.zeros((2, 1), np.float32)},
    ):
        with pytest.raises(DataError):
            dataclasses.replace(good, **bad)


def _pool(folder: Path, crs: str | None = "EPSG:32633") -> Pool:
    root = write_scenes(folder, names=("a", "b"), crs=crs)
    return open_pool(
        root / "images", masks=root / "masks", classes=root / "classes.yaml", split=(3, 4)
    )


def _square(y: float, x: float, side: float) -> dict[str, Any]:
    corners = [(0, 0), (side, 0), (side, side), (0, side), (0, 0)]
    east = [500000 + x + dx for dx, _ in corners]
    north = [6e6 - y - dy for _, dy in corners]
    lon, lat = transform("EPSG:32633", "EPSG:4326", east, north)
    return {"type": "Polygon", "coordinates": [list(map(list, zip(lon, lat, strict=True)))]}


def test_objects_by_pixels(tmp_path: Path) -> None:
    pool = _pool(tmp_path / "in", crs=None)
    file = write_objects(
        tmp_path / "o.json",
        [
            {"kind": "boat", "scene": "b", "y": 18, "x": 39, "h": 3, "w": 1},
            {"kind": "Storage tank", "scene": "a.tif", "y": 59, "x": 79, "h": 0, "w": 0},
            {"kind": "boat", "scene": "b", "y": 20, "x": 40, "h": 20, "w": 20},
        ],
    )
    concepts = (
        Concept("boat"), Concept("storage_tank"), Concept("unknown", classes=()),
        Concept("wet", classes=("water", "boat")),
    )  # fmt: skip
    shares = concept_shares(pool, concepts, read_objects(file))
    assert pool.tiles is not None
    hit = [
        (pool.ids[i][0], int(pool.tiles.row[i]), int(pool.tiles.col[i]))
        for i in np.flatnonzero(shares[:, 0])
    ]
    assert hit == [("b", 0, 1), ("b", 1, 1), ("b", 1, 2)]  # no tile that it only borders on
    assert np.flatnonzero(shares[:, 1]).tolist() == [11]
    assert np.isnan(shares[:, 2]).all()
    # A tile with a boat shows it wholly; the others by their share of water.
    assert shares[[12, 13, 16, 23], 3].tolist() == pytest.approx([0, 1, 0.475, 1])


def test_objects_on_the_ground(tmp_path: Path) -> None:
    pool = _pool(tmp_path / "in")
    file = write_objects(
        tmp_path / "o.json",
        [
            {"kind": "boat", "geometry": _square(5, 5, 3)},
            {"kind": "boat", "scene": "another survey", "geometry": _square(30, 35, 8)},
        ],
    )
    shares = concept_shares(pool, (Concept("boat"),), read_objects(file))
    # Both scenes lie on the same ground.
    assert np.flatnonzero(shares[:, 0]).tolist() == [0, 5, 6, 12, 17, 18]


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ({"scene": "a", "y": 1, "x": 1, "h": 1, "w": 1}, "number 1 of .* has no kind"),
        ({"kind": "boat"}, "has no location"),
        ({"kind": "boat", "scene": "a", "y": "1", "x": 1, "h": 1, "w": 1}, "has no location"),
        ({"kind": "boat", "geometry": {"type": "Blob"}}, "cannot be read"),
        ({"kind": "boat", "scene": "z", "y": 1, "x": 1, "h": 1, "w": 1}, "its scene is 'z'"),
        ({"kind": "boat", "geometry": {"type": "Point", "coordinates": [1, 2]}}, "georeferenced"),
    ],
)
def test_objects_that_lie_nowhere(tmp_path: Path, feature: dict[str, object], said: str) -> None:
    pool = _pool(tmp_path / "in", crs=None)
    file = write_objects(tmp_path / "o.json", [feature])
    with pytest.raises(DataError, match=said):
        concept_shares(pool, (Concept("boat"),), read_objects(file))


def test_objects_of_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text("[1]")
    with pytest.raises(DataError, match="not a FeatureCollection"):
        read_objects(tmp_path / "o.json")


def test_unknown_classes_and_unlabelled_tiles(tmp_path: Path) -> None:
    pool = _pool(tmp_path / "in")
    with pytest.raises(ParameterError, match=r"of the concept 'sea'.*Did you mean 'water'"):
        concept_shares(pool, (Concept("sea", classes=("waters",)),))
    assert pool.counts is not None
    counts = pool.counts.copy()
    counts[0] = 0
    shares = concept_shares(dataclasses.replace(pool, counts=counts), (Concept("Land"),))
    assert np.isnan(shares[0, 0])
    assert np.isfinite(shares[1:]).all()


def test_stated_concepts_of_a_training_are_known_to_the_pairs(root: Path) -> None:
    pairs = open_pairs(root / "pairs")
    assert pairs.shares is not None
    first = pairs.concepts[0].name
    _, labels = labels_of_pairs((Concept(first.upper()),), pairs)
    assert labels is not None
    assert labels[:, 0].tolist() == pairs.present()[:, 0].tolist()
    check_texts([Concept(first.upper())], pairs, "rs")
    check_texts([], pairs, "rs")
    with pytest.raises(ParameterError, match=f"Did you mean '{first}'"):
        check_texts([Concept(f"{first}s")], pairs, "rs")
    with pytest.raises(ParameterError, match="--templates 'none' without a text model"):
        check_texts([], pairs, "none")


def test_objects_far_away_are_worth_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = _pool(tmp_path / "in")
    far = {"type": "Point", "coordinates": [10.0, 10.0]}
    file = write_objects(tmp_path / "o.json", [{"kind": "boat", "geometry": far}])
    shares = concept_shares(pool, (Concept("boat"),), read_objects(file))
    assert not shares.any()
    assert "none of the 1 objects" in caplog.text
