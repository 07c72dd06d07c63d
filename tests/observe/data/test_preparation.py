from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.helpers.observed import box, write_objects, write_scenes
from tests.helpers.stac_files import write_catalogue

import foveate.observe.data.preparation
from foveate.errors import DataError, FoveateError, ParameterError
from foveate.files import read_parquet
from foveate.observe.data.concepts import concepts_from
from foveate.observe.data.pairs import open_pairs
from foveate.observe.data.preparation import group_of
from foveate.observe.jobs import PrepareJob
from foveate.observe.selection.ranking import rank
from foveate.observe.verbs import train
from foveate.raster import FileSource, write_cog

if TYPE_CHECKING:
    from pathlib import Path


def _job(root: Path, named: str = "land,water,road", **more: Any) -> PrepareJob:
    given: dict[str, Any] = {
        "images": [str(root / "images")], "masks": [str(root / "masks")],
        "classes": str(root / "classes.yaml"), "tiles": (3, 4), "ratio": 5,
        "concepts": [c.to_dict() for c in concepts_from(named)] if named else [],
    }  # fmt: skip
    return PrepareJob(**{**given, **more})


def _bare(root: Path, **more: Any) -> PrepareJob:
    return _job(root, "", masks=[], classes=None, **more)


def test_pairs_with_simulated_overviews_and_masks(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "in")
    done = _job(root).run(tmp_path / "pairs", command="foveate observe prepare")
    assert done.worked
    pairs = open_pairs(tmp_path / "pairs")
    assert pairs.shape == (3, 4)
    assert [s.scene_id for s in pairs.overviews] == ["east/a", "east/b", "west/a"]
    assert pairs.groups == ("east", "east", "west")
    assert pairs.gsd == (5.0, 1.0)
    assert pairs.has_hr
    assert [c.name for c in pairs.concepts] == ["land", "water", "road"]
    assert pairs.overviews[0].source.info.shape == (12, 16)
    assert pairs.overviews[0].source.info.geobox is not None
    assert len(pairs) == 36
    assert pairs.place[:5].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3], [0, 1, 0]]
    assert pairs.pool.ids.tolist() == sorted(pairs.pool.ids)
    # The first tile: 20 x 20 pixels of land with a road down its first column.
    assert pairs.shares is not None
    assert pairs.shares[0].tolist() == pytest.approx([0.95, 0, 0.05])
    assert pairs.shares[4].tolist() == pytest.approx([0.475, 0.475, 0.05])
    assert pairs.present()[0].tolist() == [True, False, True]
    rows = read_parquet(tmp_path / "pairs" / "pairs.parquet").to_pylist()
    assert rows[0]["ratio"] == 5
    assert rows[0]["hr"] == str(root / "images" / "east/a.tif")
    assert done.record["summary"]["concepts"] == {"land": 24, "water": 24, "road": 9}


def test_a_second_run_does_nothing_and_a_killed_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = write_scenes(tmp_path / "in"), tmp_path / "pairs"
    real = foveate.observe.data.preparation.simulate
    made: list[str] = []
    left = 2

    def dies(*args: Any, **options: Any) -> Any:
        if len(made) == left:
            raise KeyboardInterrupt
        made.append(options["name"])
        return real(*args, **options)

    monkeypatch.setattr(foveate.observe.data.preparation, "simulate", dies)
    with pytest.raises(KeyboardInterrupt):
        _job(root).run(out)
    with pytest.raises(DataError, match="no finished pairs"):
        open_pairs(out)
    left = 100
    _job(root).run(out)
    assert made == ["east/a", "east/b", "west/a"]
    _job(root).run(tmp_path / "other")
    files = sorted(p.relative_to(out) for p in out.rglob("*.tif"))
    assert len(files) == 3
    for file in [*files, "tables/labels.parquet", "tiles.parquet", "pairs.parquet"]:
        assert (out / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    left = len(made)
    assert not _job(root).run(out).worked
    for more in (0, 1):  # another MTF: overviews are made again
        assert len(open_pairs(out)) == 36  # nothing has been done that counts
        left += more
        with pytest.raises(KeyboardInterrupt):
            _job(root, mtf=0.3).run(out)
    with pytest.raises(DataError, match="no finished pairs"):
        open_pairs(out)


def test_another_job_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    root, out = write_scenes(tmp_path / "in"), tmp_path / "pairs"
    _job(root).run(out)
    (root / "images/west/a.tif").unlink()
    _bare(root).run(out)
    assert sorted(p.name for p in (out / "overviews").rglob("*.tif")) == ["a.tif", "b.tif"]
    pairs = open_pairs(out)
    assert pairs.shares is None
    assert pairs.concepts == ()
    with pytest.raises(DataError, match="no labels of concepts"):
        pairs.present()


def test_real_overviews(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "in")
    for name in ("east/a", "east/b", "west/a"):
        data = np.full((3, 9, 12), 50, np.uint16)
        write_cog(tmp_path / "lr" / f"{name}.tif", data, geobox=box((9, 12), 20 / 3))
    job = _job(root, ratio=None, lr=[str(tmp_path / "lr")])
    done = job.run(tmp_path / "pairs")
    assert not (tmp_path / "pairs/overviews").exists()
    assert done.record["summary"]["pairs"]["overviews"] == "real"
    pairs = open_pairs(tmp_path / "pairs")
    assert pairs.overviews[0].source.info.dtype == "uint16"
    assert pairs.overviews[2].uri == str(tmp_path / "lr/west/a.tif")
    assert pairs.gsd == pytest.approx((20 / 3, 1))


def test_tiles_without_valid_pixels_of_a_real_overview_are_excluded(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "in", names=("a", "b"))
    for name in ("a", "b"):
        data = np.full((3, 9, 12), 50, np.uint8)
        data[:, :, : 6 if name == "a" else 0] = 0  # the western two of four columns of tiles
        write_cog(tmp_path / f"lr/{name}.tif", data, geobox=box((9, 12), 20 / 3), nodata=0)
    done = _job(root, ratio=None, lr=[str(tmp_path / "lr")]).run(tmp_path / "pairs")
    pairs = open_pairs(tmp_path / "pairs")
    place = {tuple(p) for p in pairs.place.tolist()}
    assert place == {(s, r, c) for s in (0, 1) for r in range(3) for c in range(4) if s or c > 1}
    assert len(pairs.pool.excluded) == 6
    assert "overview" in next(iter(pairs.pool.excluded.values()))
    assert done.record["summary"]["pool"]["excluded"] == 6


@pytest.mark.parametrize(
    ("shape", "gsd", "bands", "crs", "said"),
    [
        ((9, 12), 5.0, 3, "EPSG:32633", "cover different ground"),
        ((9, 12), 20 / 3, 3, "EPSG:32634", "cover different ground"),
        ((9, 13), 20 / 3, 3, None, "9 x 13 pixels, the scene 60 x 80"),
        ((120, 160), 0.5, 3, "EPSG:32633", "fewer pixels than its scene"),
        ((2, 3), 80 / 3, 3, "EPSG:32633", "at least one pixel of the overview"),
    ],
)
def test_real_overviews_that_do_not_fit(
    tmp_path: Path, *, shape: tuple[int, int], gsd: float, bands: int, crs: str | None, said: str
) -> None:
    root = write_scenes(tmp_path / "in", names=("a",))
    geobox = None if crs is None else box(shape, gsd, crs)
    write_cog(tmp_path / "lr/a.tif", np.full((bands, *shape), 50, np.uint8), geobox=geobox)
    with pytest.raises(FoveateError, match=said):
        _bare(root, ratio=None, lr=[str(tmp_path / "lr")]).run(tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()


def test_half_a_pixel_and_two_percent_are_forgiven(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "in", names=("a",))
    write_cog(tmp_path / "lr/a.tif", np.full((3, 9, 12), 50, np.uint8), geobox=box((9, 12), 7.2))
    _bare(root, ratio=None, lr=[str(tmp_path / "lr")]).run(tmp_path / "pairs")
    flat = write_scenes(tmp_path / "flat", names=("a",), shape=(600, 808), crs=None)
    write_cog(tmp_path / "lr2/a.tif", np.full((3, 60, 80), 50, np.uint8))
    _bare(flat, ratio=None, lr=[str(tmp_path / "lr2")]).run(tmp_path / "flat-pairs")
    assert open_pairs(tmp_path / "flat-pairs").gsd is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"tiles": (8, 8)}, "at least 8 x 8 pixels"),
        ({"tiles": (1, 1)}, "at least two tiles"),
        ({"tiles": (7, 7), "ratio": 10}, "at least one pixel of the overview"),
        ({"mtf": None}, "no MTF"),
        ({"mtf": 0.7}, "mtf = 0.7"),
        ({"ratio": 1}, "ratio = 1"),
        ({"lr": ["."]}, "ratio = 5 and real overviews"),
        ({"lr": ["."], "ratio": None, "snr": 5}, "snr = 5 and real overviews"),
        ({"lr": ["."], "ratio": None, "snr": None}, "snr = 0 and real overviews"),
        ({"lr": ["."], "ratio": None, "mtf": 0.3}, "mtf = 0.3 and real overviews"),
        ({"snr": -1}, "snr=-1"),
        ({"objects": "gone.json"}, "cannot read"),
        ({"images": ["gone"]}, "does not exist"),
        ({"concepts": [{"name": "roads"}]}, "Did you mean 'road'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    root = write_scenes(tmp_path / "in", names=("a",))
    with pytest.raises(FoveateError, match=said):
        _job(root, **more).run(tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()


def test_empty_tiles_leave_and_are_named(tmp_path: Path) -> None:
    image = np.full((1, 60, 60), 90, np.uint8)
    image[:, :, :35] = 0
    write_cog(tmp_path / "images/a.tif", image, nodata=0)
    job = PrepareJob(images=[str(tmp_path / "images")], tiles=(2, 3), ratio=10)
    done = job.run(tmp_path / "pairs")
    pairs = open_pairs(tmp_path / "pairs")
    assert pairs.place.tolist() == [[0, 0, 2], [0, 1, 2]]
    assert len(pairs.pool.excluded) == 4
    assert done.record["summary"]["pool"]["excluded"] == 4
    assert pairs.pool.excluded["a/y000000_x000000_30x20"].startswith("0.0%")


def _grounds(root: Path, **sizes: tuple[tuple[int, int], float, str | None]) -> Path:
    random = np.random.default_rng(0)
    for name, (shape, gsd, crs) in sizes.items():
        image = random.integers(20, 200, (3, *shape), dtype=np.uint8)
        geobox = None if crs is None else box(shape, gsd, crs)
        write_cog(root / f"{name}.tif", image, geobox=geobox)
    return root


def test_tiles_of_one_size_on_the_ground(tmp_path: Path) -> None:
    images = _grounds(
        tmp_path / "images", coarse=((60, 80), 2.0, "EPSG:32633"),
        fine=((120, 160), 1.0, "EPSG:32634"), long=((61, 160), 1.0, "EPSG:32633"),
    )  # fmt: skip
    done = PrepareJob(images=[str(images)], tile_size="20m", ratio=5).run(tmp_path / "pairs")
    pairs = open_pairs(tmp_path / "pairs")
    assert pairs.grids == ((6, 8), (6, 8), (3, 8))
    assert (pairs.shape, pairs.tile_size, len(pairs)) == ((6, 8), 20.0, 120)
    tiles = pairs.pool.tiles
    assert tiles is not None
    gsd = np.array([2, 1, 1])[pairs.place[:, 0]]
    assert np.abs(tiles.h * gsd - 20).max() <= 1
    rows = read_parquet(tmp_path / "pairs/pairs.parquet").to_pylist()
    assert [(row["rows"], row["cols"]) for row in rows] == list(pairs.grids)
    assert done.record["summary"]["pairs"]["tiles"] == [6, 8]
    assert done.record["summary"]["pairs"]["grids"] == 2


def test_scenes_of_several_sizes_train_one_observer(tmp_path: Path) -> None:
    shapes = [(80, 80), (80, 40), (40, 80), (60, 60), (80, 60)]
    sizes = {f"s{i}": (shape, 1.0, "EPSG:32633") for i, shape in enumerate(shapes)}
    images = _grounds(tmp_path / "images", **sizes)
    PrepareJob(images=[str(images)], tile_size=20, ratio=5).run(tmp_path / "pairs")
    observer = train(tmp_path / "pairs", tmp_path / "o", size="nano", epochs=1, device="cpu")
    assert (observer.record.tile_size, observer.record.lr_tile) == (20, 4)
    # Overviews of pixels half as wide, cut into tiles of as much ground.
    other = _grounds(tmp_path / "other", low=((80, 120), 2.5, "EPSG:32634"))
    assert rank([str(other)], observer, device="cpu").n == 150


@pytest.mark.parametrize(
    ("crs", "more", "said"),
    [
        (None, {"tile_size": "20m"}, "pixel size is unknown.*--tiles 10x10"),
        ("EPSG:32633", {"tile_size": "27m"}, "2 x 3 tiles would be 11% off.*--tile-size 30m"),
        ("EPSG:32633", {"tile_size": "20m", "tiles": "3x4"}, "Omit one of them"),
        ("EPSG:32633", {"tile_size": "20 yards"}, "--tile-size 60m"),
        ("EPSG:32633", {"tile_size": "4m"}, "at least 8 x 8 pixels.*--tile-size METRES"),
    ],
)
def test_a_size_that_cannot_be(
    tmp_path: Path, crs: str | None, more: dict[str, Any], said: str
) -> None:
    images = _grounds(tmp_path / "images", a=((60, 80), 1.0, crs))
    with pytest.raises(FoveateError, match=f"(?s){said}"):
        PrepareJob(images=[str(images)], **more).run(tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()


def test_classes_and_kinds_are_concepts_unless_others_are_stated(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "in")
    done = _job(root, "").run(tmp_path / "pairs")
    assert done.record["summary"]["concepts"] == {"land": 24, "water": 24, "road": 9}
    pairs, stated = open_pairs(tmp_path / "pairs"), tmp_path / "stated"
    _job(root).run(stated)
    assert pairs.concepts == open_pairs(stated).concepts
    np.testing.assert_array_equal(pairs.shares, open_pairs(stated).shares)
    # Without a classes file the classes are known when the masks were read.
    done = _job(root, "", classes=None).run(tmp_path / "automatic")
    assert list(done.record["summary"]["concepts"].values()) == [24, 24, 9]
    assert len(open_pairs(tmp_path / "automatic").concepts) == 3
    boat = {"scene": "east/a", "y": 40, "x": 70, "h": 3, "w": 2}
    objects = write_objects(tmp_path / "o.json", [{"kind": k, **boat} for k in ("boat", "Water")])
    done = _job(root, "", objects=str(objects)).run(tmp_path / "both")
    assert done.record["summary"]["concepts"] == {"land": 24, "water": 24, "road": 9, "boat": 1}
    done = _bare(root, objects=str(objects)).run(tmp_path / "objects")
    assert done.record["summary"]["concepts"] == {"boat": 1, "Water": 1}
    assert [c.name for c in open_pairs(tmp_path / "objects").concepts] == ["boat", "Water"]


def test_the_group_of_a_scene_is_its_folder() -> None:
    assert [group_of(name) for name in ("a", "x/a", "x/y/a")] == ["a", "x", "x/y"]


def test_the_job_stores_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_scenes(tmp_path / "in", names=("a",))
    monkeypatch.chdir(root)
    job = PrepareJob(
        images=["images"], masks=["masks"], classes="classes.yaml", tiles=(3, 4), ratio=5,
        concepts=[{"name": "land"}],
    )  # fmt: skip
    job.run(tmp_path / "pairs")
    monkeypatch.chdir(tmp_path)
    assert open_pairs("pairs").overviews[0].uri == "pairs/overviews/a.tif"
    assert PrepareJob(**json.loads(job.model_dump_json())) == job


def test_typed_texts_are_parsed(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "in")
    objects = write_objects(
        tmp_path / "o.json", [{"kind": "boat", "scene": "east/a", "y": 40, "x": 70, "h": 3, "w": 2}]
    )
    typed = {
        "images": [str(root / "images")], "masks": [str(root / "masks")],
        "classes": str(root / "classes.yaml"), "tiles": "3x4", "ratio": "5", "snr": "0",
        "concepts": "water,boat", "objects": str(objects),
    }  # fmt: skip
    job = PrepareJob.typed(**typed)
    assert (job.tiles, job.ratio, job.snr) == ((3, 4), 5.0, None)
    assert [concept["name"] for concept in job.concepts] == ["water", "boat"]
    summary = job.run(tmp_path / "pairs").record["summary"]
    assert (summary["pool"]["scenes"], summary["pairs"]["groups"]) == (3, 2)
    assert (summary["pairs"]["tiles"], summary["pool"]["tiles"]) == ([3, 4], 36)
    assert (summary["pairs"]["mtf"], summary["pairs"]["snr"]) == (0.25, None)
    assert (summary["pairs"]["gsd"], summary["pairs"]["lr_gsd"]) == ([1, 1], [5, 5])
    again = job.run(tmp_path / "pairs")
    assert not again.worked
    assert again.record["summary"]["concepts"] == {"water": 24, "boat": 1}
    with pytest.raises(ParameterError, match="ROWSxCOLS"):
        PrepareJob.typed(**{**typed, "tiles": "10"})


def test_overviews_are_those_of_the_whole_file(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "in", names=("a",), shape=(600, 800))
    _bare(root, snr=None).run(tmp_path / "pairs")
    low = FileSource(str(tmp_path / "pairs/overviews/a.tif")).read().data
    full = FileSource(str(root / "images/a.tif")).read().data
    assert low.mean() == pytest.approx(full.mean(), rel=0.001)
    assert low.std() < full.std() / 4  # noise of HR averages out: nothing was skipped


def test_items_of_a_catalogue(tmp_path: Path) -> None:
    catalogue, _ = write_catalogue(tmp_path)
    job = PrepareJob(
        images=[str(catalogue)], assets=["red", "nir"], tiles=(4, 4), ratio=4, min_valid=0.9
    )
    done = job.run(tmp_path / "pairs")
    pairs = open_pairs(tmp_path / "pairs")
    assert len(pairs.pool.scenes) == 3
    assert pairs.pool.attributes is not None
    dates = pairs.pool.attributes.table["datetime"].to_pylist()
    assert len(dates) == len(pairs)
    assert len(set(dates)) == 3
    assert done.record["summary"]["pool"]["tiles"] == len(pairs)
